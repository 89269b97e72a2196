// Package simulation tests the whole in virtual time: visitors, the outbox, the
// router, the client, several fake brands, the mirror, postbacks and trackers.
// It opens no sockets. Processes die at any step. See TestSimulation.
package simulation
