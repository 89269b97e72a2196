// Package simulation tests the whole in virtual time: visitors at the endpoint
// of the gateway, the outbox, the router, the client, several fake brands, the
// mirror, postbacks, trackers and reconcile. It opens no sockets. Processes die
// or are stopped at any step. See TestSimulation.
//
// A seed decides when visitors come and what they do, what brands and trackers
// do, which faults happen at which time, and after how many steps a process
// ends. It does not decide in which order goroutines run, the random ids, and
// the random parts of waits. So a seed that failed mostly fails again, but not
// always: run it several times.
package simulation
