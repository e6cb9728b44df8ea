//go:build !linux

package linuxonly

// The name below is undefined on purpose: the compiler prints it as the reason of the failure.
var _ = wsgateway_needs_Linux
