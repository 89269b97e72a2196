package e2e_test

import "syscall"

// The system returns these. It never returns syscall.ECONNREFUSED and
// syscall.ECONNRESET, which package syscall made up for Windows.
const (
	errRefused = syscall.Errno(10061)
	errReset   = syscall.WSAECONNRESET
)
