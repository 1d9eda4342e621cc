# Submit functions whose C++ form is not written yet, and the header that it goes to.
set(aio_cpp_not_wrapped
    aio_submit_getaddrinfo aio_submit_getnameinfo aio_submit_resolve # resolve.hpp
    aio_submit_signal                                                # signal_set.hpp
    aio_submit_spawn                                                 # process.hpp
    aio_submit_watch)                                                # watch.hpp
