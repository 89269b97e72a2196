//go:build !race

package gateway_test

// slowdown is how many times slower SQLite is with the race detector.
const slowdown = 1
