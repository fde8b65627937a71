// Package gauge says what a benchmark runs on and what its processes use: the line MACHINE {…} that every benchmark prints first, the
// disk below a directory, and the processor time and memory of a process. It reads /proc and /sys and starts nothing.
package gauge
