// Package waitfor waits for a condition of the real world (a process, a port, an answer) with a deadline: what end-to-end
// tests, the demo and the drills use instead of sleeping.
package waitfor
