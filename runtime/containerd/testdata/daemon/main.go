// Daemon is our containerd and shim alone: the tests run it where the test binary itself would be slow, under the race detector.
package main

import (
	"os"

	"github.com/drover-io/drover/runtime/containerd/embedded"
)

func main() {
	if handled, code := embedded.Main(os.Args); handled {
		os.Exit(code)
	}
	os.Exit(2)
}
