package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/drover-io/drover/e2e/herd"
)

// options are the demo's command line and environment.
type options struct {
	drover, hello string
	driver        string
	keep          bool
	stop          bool
}

func main() {
	var o options
	flag.StringVar(&o.drover, "drover", "bin/drover", "the binary to show")
	flag.StringVar(&o.hello, "hello", "bin/hello", "the program to run")
	flag.BoolVar(&o.stop, "stop", false, "end a herd that KEEP=1 left running")
	if len(os.Args) < 2 || os.Args[1] != "herd-hold" {
		flag.Parse()
	}
	o.driver = os.Getenv("DRIVER")
	o.keep = os.Getenv("KEEP") == "1"
	if o.driver == "" {
		o.driver = herd.DriverContainerd
		if os.Geteuid() != 0 && !herd.Inside() {
			fmt.Println("Not root: containers need root, so the demo runs plain processes (DRIVER=exec).")
			o.driver = herd.DriverExec
			if err := os.Setenv("DRIVER", o.driver); err != nil {
				fail(err)
			}
		}
	}
	if o.stop {
		if err := stopKept(); err != nil {
			fail(err)
		}
		return
	}
	namespaces := herd.Main(true)
	if err := herd.Absolute(&o.drover, &o.hello); err != nil {
		fail(err)
	}
	ctx, cancel := herd.Interruptible()
	ctx, timeout := context.WithTimeout(ctx, 5*time.Minute)
	err := tell(ctx, o, namespaces)
	timeout()
	cancel()
	if err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "\ndemo failed:", err)
	os.Exit(1)
}
