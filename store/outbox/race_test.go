//go:build race

package outbox_test

// slowdown is how many times slower SQLite is with the race detector.
const slowdown = 10
