//go:build !race

package integration

// raceDetector is in this program, and not in those that it starts.
const raceDetector = false
