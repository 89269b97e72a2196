//go:build race

package importer

// raceDetector reports that the tests run with the race detector, which needs
// several times the memory.
const raceDetector = true
