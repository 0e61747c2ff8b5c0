//go:build race

package sim

// raceDetector makes everything several times slower.
const raceDetector = true
