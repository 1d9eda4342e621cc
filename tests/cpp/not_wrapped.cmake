# Submit functions whose C++ form is not written yet, and the header that it goes to.
set(aio_cpp_not_wrapped)
