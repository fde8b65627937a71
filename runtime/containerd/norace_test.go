//go:build !race

package containerd

const raceDetector = false
