package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/drover-io/drover/e2e/fleet"
	"github.com/drover-io/drover/e2e/gauge"
	"github.com/drover-io/drover/e2e/herd"
)

// options are the command line.
type options struct {
	drover   string
	etcd     string // "" leaves etcd out
	dir      string // the disks are below it
	runs     int
	lasts    time.Duration // one run of load
	clients  []int         // that register
	watchers int
	allocs   int           // of the servers that are started again
	raft     time.Duration // the servers' raft_timeout
	profiles string        // directory for profiles of the servers; "" takes none
}

// section is a part of the benchmark that can be run alone.
type section struct {
	name string
	run  func(ctx context.Context, o options) ([]*figure, error)
}

func sections() []section {
	return []section{
		{"http", measureCeiling}, {"registrations", measureRegistrations}, {"reads", measureReads}, {"watchers", measureWatchers}, {"restart", measureRestart},
	}
}

func main() {
	fleet.Main()
	if again() {
		return
	}
	o, chosen, err := parse()
	if err == nil {
		err = run(o, chosen)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "\nbench-api failed:", strings.ReplaceAll(err.Error(), "\n", "\n                  "))
		os.Exit(1)
	}
}

// again is this program as a child of its own: as an empty server, or to build the state of a million allocations and go.
func again() bool {
	if len(os.Args) < 2 || os.Args[1] != ceilingArg && os.Args[1] != worldArg {
		return false
	}
	err := errors.New("want a file and a number of copies")
	switch {
	case os.Args[1] == ceilingArg:
		err = serveEmpty()
	case len(os.Args) == 4:
		var n int
		if n, err = strconv.Atoi(os.Args[3]); err == nil {
			err = saveWorld(os.Args[2], n)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, os.Args[1]+":", err)
		os.Exit(1)
	}
	return true
}

// worldArg makes this program write a backup of many allocations, and end: its memory is given back.
const worldArg = "save-world"

func saveWorldApart(ctx context.Context, file string, copies int) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", worldArg, file, strconv.Itoa(copies))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("make a state of %d allocations: %w", copies, err)
	}
	return nil
}

func parse() (o options, chosen []section, err error) {
	var names []string
	for _, s := range sections() {
		names = append(names, s.name)
	}
	only := flag.String("only", "", "comma-separated parts: "+strings.Join(names, ", "))
	clients := flag.String("clients", "1,64,256", "numbers of clients that register")
	flag.StringVar(&o.drover, "drover", "bin/drover", "the binary of the servers")
	flag.StringVar(&o.etcd, "etcd", "etcd", `etcd's binary; "" leaves the comparison out`)
	flag.StringVar(&o.dir, "dir", "/var/tmp", "directory on a real disk, for all data while this runs")
	flag.IntVar(&o.runs, "runs", 3, "runs of everything; figures are medians")
	flag.DurationVar(&o.lasts, "for", 5*time.Second, "how long one run of load lasts")
	flag.IntVar(&o.watchers, "watchers", 10_000, "watchers")
	flag.IntVar(&o.allocs, "allocs", 1_000_000, "allocations of the servers that are started again, a multiple of 1,000")
	flag.DurationVar(&o.raft, "raft-timeout", fleet.RaftTimeout, "the servers' raft_timeout: longer where others use the machine too")
	flag.StringVar(&o.profiles, "profiles", "", "directory for processor profiles of the servers while they are under load")
	flag.Parse()
	for text := range strings.SplitSeq(*clients, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			return o, nil, fmt.Errorf("--clients %s: want numbers of 1 or more", *clients)
		}
		o.clients = append(o.clients, n)
	}
	if o.runs < 1 || o.lasts < time.Second || o.watchers < 1 || o.allocs < worldCount || o.allocs%worldCount != 0 {
		return o, nil, fmt.Errorf("--runs and --watchers want 1 or more, --for 1s or more, --allocs a multiple of %d", worldCount)
	}
	chosen = sections()
	if *only != "" {
		want := strings.Split(*only, ",")
		for _, name := range want {
			if !slices.Contains(names, name) {
				return o, nil, fmt.Errorf("there is no part %q; there are %s", name, strings.Join(names, ", "))
			}
		}
		chosen = slices.DeleteFunc(chosen, func(s section) bool { return !slices.Contains(want, s.name) })
	}
	return o, chosen, herd.Absolute(&o.drover, &o.dir)
}

func run(o options, chosen []section) (err error) {
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o755); err != nil {
			return err
		}
	}
	if o.dir, err = os.MkdirTemp(o.dir, "drover-api-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	ctx, cancel := herd.Interruptible()
	defer cancel()
	if err := gauge.PrintMachine(o.dir); err != nil {
		return err
	}
	fmt.Printf("%d cores for three servers, etcd beside them, and the clients; the servers have %s\n", runtime.NumCPU(), fleet.Setting)
	var all []*figure
	var errs []error
	for _, s := range chosen {
		figures, err := s.run(ctx, o)
		for _, f := range figures {
			line, lineErr := f.line()
			fmt.Println(line)
			errs = append(errs, lineErr)
			if p := f.problem(); p != "" {
				errs = append(errs, errors.New(p))
			}
		}
		all = append(all, figures...)
		if err != nil {
			showLogs(o.dir)
			return errors.Join(append(errs, fmt.Errorf("%s: %w", s.name, err))...)
		}
	}
	fmt.Println()
	return errors.Join(append(errs, table(os.Stdout, all))...)
}

// showLogs prints how the servers' logs end, before they are removed.
func showLogs(dir string) {
	for _, pattern := range []string{"s*/agent.log", "*/s*/agent.log", "etcd*/log"} {
		logs, _ := filepath.Glob(filepath.Join(dir, pattern)) // the pattern is well formed
		for _, log := range logs {
			if text, err := os.ReadFile(log); err == nil && len(text) > 0 {
				fmt.Fprintf(os.Stderr, "\n%s ends with\n%s\n", log, text[max(0, len(text)-2000):])
			}
		}
	}
}
