"""The interactions of R4 (http.html): each takes a Request and returns a Response."""
