"""Content type of a body that came without one: C interface."""

cdef bytes sniff(const char* data, Py_ssize_t n)
