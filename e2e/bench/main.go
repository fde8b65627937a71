package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/drover-io/drover/e2e/gauge"
	"github.com/drover-io/drover/e2e/herd"
)

// options are the command line.
type options struct {
	drover, hello string
	runs          int
	dir           string // everything that is written
	only          []string
}

// bench is one thing that is measured; it prints its figures.
type bench struct {
	name    string
	about   string
	needs   bool // root, for containers
	measure func(context.Context, options) ([]figure, error)
}

// benches are all of them, in the order in which they run.
func benches() []bench {
	return []bench{
		{"binary", "size of the binary, and that it is static", false, measureBinary},
		{"dev-start", "agent --dev, from its start to ready", false, measureStart},
		{"idle", "memory and processor of an idle agent, and of the servers of an idle cluster", false, measureIdle},
		{"submit", "a job submitted until its container runs, beside bare containerd", true, measureSubmit},
		{"copies", "100 copies on one node, beside bare containerd", true, measureCopies},
		{"registrations", "jobs registered and read in a cluster of three servers", false, measureRegistrations},
	}
}

func main() {
	var o options
	var list bool
	var only string
	flag.StringVar(&o.drover, "drover", "bin/drover", "the binary to measure")
	flag.StringVar(&o.hello, "hello", "bin/hello", "the program that it runs")
	flag.IntVar(&o.runs, "runs", 3, "runs of each; the figures are their medians")
	flag.StringVar(&only, "only", "", "benches to run, separated by commas; names may follow as arguments too")
	flag.BoolVar(&list, "list", false, "list the benches")
	if len(os.Args) < 2 || os.Args[1] != "herd-hold" {
		flag.Parse()
	}
	if list {
		for _, b := range benches() {
			fmt.Printf("%-14s %s\n", b.name, b.about)
		}
		return
	}
	o.only = slices.DeleteFunc(append(strings.Split(only, ","), flag.Args()...), func(s string) bool { return s == "" })
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "\nbench failed:", strings.ReplaceAll(err.Error(), "\n", "\n              "))
		os.Exit(1)
	}
}

func run(o options) (err error) {
	chosen, err := herd.Choose("bench", benches(), func(b bench) string { return b.name }, o.only)
	if err != nil {
		return err
	}
	if o.runs < 1 {
		return fmt.Errorf("--runs %d: want 1 or more", o.runs)
	}
	if err := herd.Main(true); err != nil {
		return fmt.Errorf("the machines are network namespaces: %w", err)
	}
	if err := herd.Absolute(&o.drover, &o.hello); err != nil {
		return err
	}
	if o.dir, err = os.MkdirTemp("", "drover-bench-"); err != nil {
		return err
	}
	ctx, cancel := herd.Interruptible()
	defer cancel()
	if err := gauge.PrintMachine(o.dir); err != nil {
		return errors.Join(err, os.RemoveAll(o.dir))
	}
	err = runAll(ctx, o, chosen)
	return errors.Join(err, os.RemoveAll(o.dir))
}

// runAll measures one after another, so that nothing measures something else.
func runAll(ctx context.Context, o options, chosen []bench) error {
	var failed []error
	for _, b := range chosen {
		if b.needs && herd.OuterUID() != 0 {
			fmt.Printf("SKIP %s: needs root, to run containers\n", b.name)
			continue
		}
		began := time.Now()
		fmt.Fprintf(os.Stderr, "%s: %s\n", b.name, b.about)
		own := o
		own.dir = filepath.Join(o.dir, b.name)
		err := os.Mkdir(own.dir, 0o755)
		var figures []figure
		if err == nil {
			figures, err = b.measure(ctx, own)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", b.name, err))
		}
		for _, f := range figures {
			if err := f.print(os.Stdout); err != nil {
				failed = append(failed, err)
			}
		}
		fmt.Fprintf(os.Stderr, "%s took %.0f s\n", b.name, time.Since(began).Seconds())
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}
