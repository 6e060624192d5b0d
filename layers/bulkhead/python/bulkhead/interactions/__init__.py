"""The interactions of R4 (http.html): from a request to its response."""
