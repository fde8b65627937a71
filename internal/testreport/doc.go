// Command testreport reads the output of `go test -json` and prints what ran, what failed with its output, and every skipped
// test with its reason. It exits with 1 when a test failed or nothing ran.
package main
