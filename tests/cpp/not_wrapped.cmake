# Submit functions whose C++ form is not written yet, and the header that it goes to.
set(aio_cpp_not_wrapped
    aio_submit_work aio_submit_poll_until                            # thread_pool.hpp
    aio_submit_getaddrinfo aio_submit_getnameinfo aio_submit_resolve # resolve.hpp
    aio_submit_signal                                                # signal_set.hpp
    aio_submit_spawn                                                 # process.hpp
    aio_submit_watch                                                 # watch.hpp
    aio_submit_notifier_wait aio_submit_notifier_wait_multishot      # notifier.hpp
    aio_submit_channel_receive aio_submit_channel_receive_multishot) # channel.hpp
