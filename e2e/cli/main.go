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

	"github.com/drover-io/drover/e2e/herd"
)

// options are the command line.
type options struct {
	drover, hello string
	stories       string // directory
	only          string // names of stories, separated by commas
	rewrite       bool
	keepLogs      bool
}

func main() {
	if len(os.Args) > 1 && slices.Contains(asides(), os.Args[1]) {
		if err := aside(os.Args[1], os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	var o options
	flag.StringVar(&o.drover, "drover", "bin/drover", "the binary to prove")
	flag.StringVar(&o.hello, "hello", "bin/hello", "the program that it runs")
	flag.StringVar(&o.stories, "stories", "e2e/cli/testdata", "directory of the stories")
	flag.StringVar(&o.only, "story", "", "tell only these stories (names, separated by commas)")
	flag.BoolVar(&o.rewrite, "rewrite", false, "take over what is printed now")
	flag.BoolVar(&o.keepLogs, "keep-logs", os.Getenv("KEEP") == "1", "keep the machines' disks when something failed (KEEP=1)")
	if len(os.Args) < 2 || os.Args[1] != "herd-hold" {
		flag.Parse()
	}
	namespaces := herd.Main(true)
	err := herd.Absolute(&o.drover, &o.hello, &o.stories)
	if err == nil {
		ctx, cancel := herd.Interruptible()
		ctx, timeout := context.WithTimeout(ctx, 40*time.Minute)
		err = run(ctx, o, namespaces)
		timeout()
		cancel()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ntest-cli failed:", err)
		os.Exit(1)
	}
}

// run forms a herd, tells the stories to it, and checks that every command has one.
func run(ctx context.Context, o options, namespaces error) (err error) {
	paths, err := storyFiles(o)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "drover-cli-") // short: a socket's path has 107 bytes
	if err != nil {
		return err
	}
	began := time.Now()
	h, err := herd.New(herd.Options{
		Dir: dir, Drover: o.drover, Servers: 3, Clients: 2, Driver: herd.DriverExec, Loopback: namespaces != nil,
	})
	if err != nil {
		return errors.Join(err, herd.RemoveTraces(dir), os.RemoveAll(dir))
	}
	defer func() {
		destroyed := h.Destroy()
		if err != nil && o.keepLogs {
			fmt.Println("the machines' disks:", dir)
			return
		}
		err = errors.Join(err, destroyed, os.RemoveAll(dir))
	}()
	if _, err := h.WaitReady(ctx, time.Minute); err != nil {
		return err
	}
	fmt.Printf("A herd of 3 servers and 2 clients is ready after %.1f s.\n", time.Since(began).Seconds())
	failed, err := tellAll(ctx, o, h, paths)
	if err != nil {
		return err
	}
	if o.only == "" && !o.rewrite {
		err = checkProven(ctx, o)
	}
	fmt.Printf("Stories took %.0f s.\n%d passed, %d failed\n", time.Since(began).Seconds(), len(paths)-failed, failed)
	if failed > 0 {
		err = errors.Join(err, fmt.Errorf("%d stories failed", failed))
	}
	return err
}

// tellAll tells the stories one after another, and counts those that failed.
func tellAll(ctx context.Context, o options, h *herd.Herd, paths []string) (failed int, err error) {
	for _, path := range paths {
		if ctx.Err() != nil {
			return failed, ctx.Err()
		}
		if err := tellOne(ctx, o, h, path); err != nil {
			failed++
			fmt.Printf("FAIL  %s\n%v\n", name(path), err)
		}
	}
	return failed, nil
}

// checkProven fails when a command has no story.
func checkProven(ctx context.Context, o options) error {
	missing, err := unproven(ctx, o)
	if err != nil {
		return err
	}
	for _, m := range missing {
		fmt.Println("FAIL ", m)
	}
	if len(missing) > 0 {
		return fmt.Errorf("%d commands or ways of using them have no story", len(missing))
	}
	return nil
}

// tellOne tells one story and compares.
func tellOne(ctx context.Context, o options, h *herd.Herd, path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if head, _, _ := strings.Cut(string(text), "\n"); strings.HasSuffix(head, "Needs root.") && (h.Loopback || herd.OuterUID() != 0) {
		fmt.Printf("skip  %s: containers need root\n", name(path))
		return nil
	}
	began := time.Now()
	got, err := tell(ctx, o, h, string(text))
	if err != nil {
		return fmt.Errorf("%w\nIt had told so far:\n%s", err, ending(got))
	}
	if o.rewrite && got != string(text) {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			return err
		}
		fmt.Printf("wrote %s, %.1f s\n", name(path), time.Since(began).Seconds())
		return nil
	}
	if diff := difference(string(text), got); diff != "" {
		return fmt.Errorf("(- story, + now; -rewrite accepts)\n%s", diff)
	}
	fmt.Printf("ok    %s, %.1f s\n", name(path), time.Since(began).Seconds())
	return nil
}

// ending is the end of what was told: where to look when something went wrong.
func ending(told string) string {
	lines := strings.Split(strings.TrimRight(told, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

func name(path string) string { return strings.TrimSuffix(filepath.Base(path), ".txt") }

// storyFiles are the stories to tell, in the order of their names.
func storyFiles(o options) ([]string, error) {
	all, err := filepath.Glob(filepath.Join(o.stories, "*.txt"))
	if err != nil || len(all) == 0 {
		return nil, fmt.Errorf("no stories in %s: %w", o.stories, err)
	}
	var names []string
	if o.only != "" {
		names = strings.Split(o.only, ",")
	}
	return herd.Choose("story", all, name, names)
}
