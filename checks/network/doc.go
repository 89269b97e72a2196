// Package network runs the client and a fake Clixnow in two network
// namespaces, with a faulty network between them. docs/network.md has the
// results.
package network
