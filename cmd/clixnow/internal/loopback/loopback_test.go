package loopback_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/clixnow/clixnow-go/cmd/clixnow/internal/loopback"
)

// TestAllows has the Hosts that a server of this machine answers, and those of
// DNS rebinding (case P9).
func TestAllows(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{
		"127.0.0.1:8081":                 true,
		"127.0.0.1":                      true,
		"127.8.8.8":                      true,
		"localhost:8081":                 true,
		"LOCALHOST":                      true,
		"localhost.":                     true,
		"localhost.:8081":                true,
		"acme.localhost:8081":            true,
		"[::1]:8081":                     true,
		"[::1]":                          true,
		"[::ffff:127.0.0.1]:8081":        true,
		"leads.example":                  true,
		"Leads.Example:443":              true,
		"leads.example.":                 true,
		"":                               false,
		".":                              false,
		":8081":                          false,
		"evil.example:8081":              false,
		"evil.example":                   false,
		"127.0.0.1.evil.example:8081":    false,
		"127.0.0.1@evil.example":         false,
		"localhost.evil.example":         false,
		"evil.example:80.localhost":      false,
		"leads.example.evil.example":     false,
		"evil-leads.example":             false,
		"notlocalhost":                   false,
		"192.0.2.1":                      false,
		"[2001:db8::1]:8081":             false,
		"0.0.0.0:8081":                   false,
		"[::]:8081":                      false,
		"127.1":                          false,
		"2130706433":                     false,
		"0x7f000001":                     false,
		"localhost\x00.evil.example:123": false,
	} {
		assert.Equal(t, want, loopback.Allows(host, "leads.example", ""), "%q", host)
	}
	assert.False(t, loopback.Allows("leads.example"))
}

func TestIsName(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "::1": true, "": false, "0.0.0.0": false, "example.com": false,
	} {
		assert.Equal(t, want, loopback.IsName(name), name)
	}
}
