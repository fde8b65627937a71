// Package image makes small container images out of one static program, on the spot and without a registry: for end-to-end tests
// and the demo. The same program gives the same digest every time. It makes images for the machine's own architecture and nothing
// with layers of somebody else.
package image
