// Package linuxonly stops a build for any other system with one line. Packages that call epoll,
// accept4 or prctl import it for that effect alone:
//
//	import _ "wsgateway/internal/linuxonly"
//
// Go does not compile a package whose import has failed. Without this package, each of them
// would report its own list of undefined names.
package linuxonly
