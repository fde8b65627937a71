package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/drover-io/drover/e2e/herd"
)

// options are the command line.
type options struct {
	drover, hello string
	runs          int
	only          []string // drills to run, in this order; none means all
	alone         bool     // one lane: this process runs the drills itself
	keepLogs      bool
}

func main() {
	var o options
	flag.StringVar(&o.drover, "drover", "bin/drover", "the binary to drill")
	flag.StringVar(&o.hello, "hello", "bin/hello", "the program that it runs")
	flag.IntVar(&o.runs, "runs", runsFromEnv(), "runs of each drill (RUNS)")
	flag.BoolVar(&o.alone, "alone", false, "run the named drills one after another instead of in lanes")
	flag.BoolVar(&o.keepLogs, "keep-logs", os.Getenv("KEEP") == "1", "keep the disks of a herd whose drill failed (KEEP=1)")
	if err := herd.Main(false); err != nil { // a machine's init goes no further
		fmt.Fprintln(os.Stderr, "drills failed:", err)
		os.Exit(1)
	}
	flag.Parse()
	o.only = flag.Args()
	if err := start(o); err != nil {
		fmt.Fprintln(os.Stderr, "drills failed:", err)
		os.Exit(1)
	}
}

func runsFromEnv() int {
	if n, err := strconv.Atoi(os.Getenv("RUNS")); err == nil && n > 0 {
		return n
	}
	return 10
}

// start runs the drills of one lane in this process, or all lanes in processes of their own.
func start(o options) error {
	chosen, err := herd.Choose("drill", drills(), func(d drill) string { return d.name }, o.only)
	if err != nil {
		return err
	}
	if len(chosen) == 1 {
		o.alone = true
	}
	if !o.alone {
		return inLanes(o, chosen)
	}
	if err := herd.Main(true); err != nil {
		return fmt.Errorf("drills need root and network namespaces: %w", err)
	}
	if err := herd.Absolute(&o.drover, &o.hello); err != nil {
		return err
	}
	ctx, cancel := herd.Interruptible()
	defer cancel()
	var failed []error
	for _, d := range chosen {
		if err := d.perform(ctx, o); err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", d.name, err))
		}
		if ctx.Err() != nil {
			break
		}
	}
	return errors.Join(failed...)
}

// inLanes runs each lane's drills in a process of its own, at the same time.
func inLanes(o options, chosen []drill) error {
	lanes := map[int][]string{}
	length := map[int]time.Duration{}
	var longest time.Duration
	for _, d := range chosen {
		lanes[d.lane] = append(lanes[d.lane], d.name)
		length[d.lane] += d.setUp() + time.Duration(o.runs)*d.each
		longest = max(longest, length[d.lane])
	}
	fmt.Fprintf(os.Stderr, "%d drills, %d runs each, in %d lanes: about %.0f minutes\n", len(chosen), o.runs, len(lanes), longest.Minutes())
	var wg sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	began := time.Now()
	for lane, names := range lanes {
		wg.Go(func() {
			runtime.LockOSThread() // the death signal is the starting thread's
			defer runtime.UnlockOSThread()
			args := append([]string{"--alone", "--drover", o.drover, "--hello", o.hello, "--runs", strconv.Itoa(o.runs),
				"--keep-logs=" + strconv.FormatBool(o.keepLogs)}, names...)
			cmd := exec.Command("/proc/self/exe", args...)
			cmd.Args[0], cmd.Stdout, cmd.Stderr = os.Args[0], os.Stdout, os.Stderr
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
			if err := cmd.Run(); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, fmt.Errorf("lane %d (%s): %w", lane, strings.Join(names, ", "), err))
			}
		})
	}
	interrupts := make(chan os.Signal, 1)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM) // the lanes get the terminal's too, and clean up
	defer signal.Stop(interrupts)
	wg.Wait()
	fmt.Fprintf(os.Stderr, "all drills took %.1f minutes\n", time.Since(began).Minutes())
	return errors.Join(failed...)
}
