package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/state"
)

// allocations of a job, newest first, asked of one node.
func allocations(ctx context.Context, n *herd.Node, job string) ([]api.AllocListItem, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	allocs, _, err := n.API.JobAllocations(ctx, job, api.QueryOptions{})
	return allocs, err
}

// running are the copies of a job that are wanted and run, by ID.
func running(ctx context.Context, n *herd.Node, job string) (map[string]api.AllocListItem, error) {
	allocs, err := allocations(ctx, n, job)
	out := map[string]api.AllocListItem{}
	for _, x := range allocs {
		if x.DesiredStatus == state.DesiredRun && x.ClientStatus == state.ClientRunning {
			out[x.ID] = x
		}
	}
	return out, err
}

// onlyAlloc is the one allocation of a job.
func onlyAlloc(ctx context.Context, n *herd.Node, job string) (api.AllocListItem, error) {
	allocs, err := allocations(ctx, n, job)
	if err == nil && len(allocs) != 1 {
		err = fmt.Errorf("job %s has %d allocations, want 1", job, len(allocs))
	}
	if err != nil {
		return api.AllocListItem{}, err
	}
	return allocs[0], nil
}

// becomes waits until the one allocation of a job has a status, and returns it.
func becomes(t *testing.T, n *herd.Node, job, status string) (x api.AllocListItem) {
	t.Helper()
	eventually(t, 20*time.Second, job, func(ctx context.Context) (err error) {
		if x, err = onlyAlloc(ctx, n, job); err == nil && x.ClientStatus != status {
			err = fmt.Errorf("its allocation is %s, want %s:\n%s", x.ClientStatus, status, events(x))
		}
		return err
	})
	return x
}

// events are what happened to the tasks of an allocation, as text.
func events(x api.AllocListItem) string {
	var out []string
	for _, t := range x.TaskStates {
		for _, e := range t.Events {
			out = append(out, fmt.Sprintf("%s: %s", e.Type, e.Message))
		}
	}
	return strings.Join(out, "\n")
}

// count is how many events of a type an allocation has.
func count(x api.AllocListItem, event string) int {
	n := 0
	for _, t := range x.TaskStates {
		for _, e := range t.Events {
			if e.Type == event {
				n++
			}
		}
	}
	return n
}

// answers asks every running copy over HTTP and fails unless all of a job answer with the allocation that they are.
func answers(job string, copies int, ask *herd.Node, not *herd.Node) func(context.Context) error {
	return func(ctx context.Context) error {
		live, err := running(ctx, ask, job)
		if err != nil {
			return err
		}
		if len(live) != copies {
			return fmt.Errorf("%d of %d copies run", len(live), copies)
		}
		for id, x := range live {
			if not != nil && x.NodeName == not.Name {
				return fmt.Errorf("copy %s runs on %s", id, not.Name)
			}
			got, err := get(ctx, fmt.Sprintf("http://%s:%d/", x.Ports[0].HostIP, x.Ports[0].HostPort))
			if err != nil {
				return err
			}
			if got.Alloc != id || got.Node != x.NodeName {
				return fmt.Errorf("the copy at port %d says it is %s on %s, want %s on %s", x.Ports[0].HostPort, got.Alloc, got.Node, id, x.NodeName)
			}
		}
		return nil
	}
}

type reply struct{ Alloc, Node, Version string }

func get(ctx context.Context, url string) (r reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return r, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end
	return r, json.NewDecoder(io.LimitReader(res.Body, 1<<16)).Decode(&r)
}

// hellos are the copies on a machine: process, named for ever → its allocation.
func hellos(n *herd.Node) map[string]string {
	out := map[string]string{}
	for _, p := range herd.Named(n.Processes(), "hello") {
		out[fmt.Sprintf("%d started at tick %d", p.PID, p.Start)] = envOf(p.PID, "DROVER_ALLOC_ID")
	}
	return out
}

// helloOf is the process of an allocation on a machine.
func helloOf(t *testing.T, n *herd.Node, alloc string) (hello herd.Process) {
	t.Helper()
	// runc says that a task has started before the task's program has taken its process over.
	eventually(t, 10*time.Second, "the allocation's program runs", func(context.Context) error {
		for _, p := range herd.Named(n.Processes(), "hello") {
			if envOf(p.PID, "DROVER_ALLOC_ID") == alloc {
				hello = p
				return nil
			}
		}
		return fmt.Errorf("allocation %s has no process on %s", alloc, n.Name)
	})
	return hello
}

func envOf(pid int, name string) string {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return ""
	}
	for kv := range strings.SplitSeq(string(environ), "\x00") {
		if v, ok := strings.CutPrefix(kv, name+"="); ok {
			return v
		}
	}
	return ""
}

// parentOf is a process's parent.
func parentOf(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if ppid, ok := strings.CutPrefix(line, "PPid:"); ok {
			n, err := strconv.Atoi(strings.TrimSpace(ppid))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatalf("process %d has no parent", pid)
	return 0
}

// lastLine checks that the numbered lines of a copy's log follow each other from 1, and returns the last.
func lastLine(ctx context.Context, n *herd.Node, alloc string) (last int, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body, err := n.API.Logs(ctx, api.LogsRequest{AllocID: alloc, Type: api.LogStdout, Origin: api.LogFromStart})
	if err != nil {
		return 0, err
	}
	defer func() { _ = body.Close() }() // read to its end
	in := bufio.NewReader(body)
	for {
		text, err := in.ReadString('\n')
		if errors.Is(err, io.EOF) {
			return last, nil // a line without its end is still being written
		}
		if err != nil {
			return last, err
		}
		number, ok := strings.CutPrefix(strings.TrimSpace(text), "line ")
		if !ok {
			continue
		}
		if number != strconv.Itoa(last+1) {
			return last, fmt.Errorf("line %s follows line %d in the log of %s", number, last, alloc)
		}
		last++
	}
}

// traces is everything on a machine that allocations could leave behind: what a machine without work has of it is the baseline.
func traces(n *herd.Node) map[string]bool {
	out := map[string]bool{}
	for _, p := range n.Processes() {
		name := filepath.Base(p.Args[0])
		if len(p.Args) > 1 {
			name += " " + p.Args[1]
		}
		out["process "+name] = true
	}
	mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mounts", n.InitPID()))
	if err != nil {
		out[err.Error()] = true
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 1 && (strings.HasPrefix(f[1], n.Dir) || strings.HasPrefix(f[1], "/run/")) {
			out["mount "+f[1]] = true
		}
	}
	id, err := os.ReadFile(filepath.Join(n.Dir, "data", "node-id"))
	if err != nil {
		out[err.Error()] = true
	}
	for kind, pattern := range map[string]string{
		"control group":           "/sys/fs/cgroup/*/drover/" + strings.TrimSpace(string(id)) + "/*",
		"alloc directory":         filepath.Join(n.Dir, "data/client/allocs/*"),
		"exec state":              filepath.Join(n.Dir, "data/exec/*"),
		"container":               n.Path("/run/*/io.containerd.runtime.v2.task/*/*"),
		"container of our daemon": n.Path("/run/drover/*/state/io.containerd.runtime.v2.task/*/*"),
		"exit note":               n.Path("/run/drover/*/exits/*"),
	} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			out[err.Error()] = true
		}
		for _, f := range found {
			out[kind+" "+f] = true
		}
	}
	return out
}

// nothingLeft is a condition: the machines have no more than they had before there was work. The directory of an allocation that
// has ended stays for its logs for as long as the cluster remembers it, without secrets. Unpacked images stay in their cache.
func nothingLeft(before map[*herd.Node]map[string]bool) func(context.Context) error {
	return func(ctx context.Context) error {
		for n, had := range before {
			var left []string
			for _, what := range slices.Sorted(maps.Keys(traces(n))) {
				if !had[what] && !remembered(ctx, n, what) {
					left = append(left, what)
				}
			}
			if len(left) > 0 {
				return fmt.Errorf("left on %s:\n  %s", n.Name, strings.Join(left, "\n  "))
			}
		}
		return nil
	}
}

// remembered reports whether a trace is the directory of an allocation that has ended and that the cluster can still show.
func remembered(ctx context.Context, n *herd.Node, what string) bool {
	dir, ok := strings.CutPrefix(what, "alloc directory ")
	if !ok {
		return false
	}
	secrets, err := filepath.Glob(filepath.Join(dir, "*", "secrets"))
	if err != nil || len(secrets) > 0 {
		return false
	}
	x, _, err := n.API.Allocation(ctx, filepath.Base(dir), api.QueryOptions{})
	return err == nil && (x.ClientStatus == state.ClientComplete || x.ClientStatus == state.ClientFailed)
}

// answersAt is a condition: hello answers at an address.
func answersAt(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		_, err := get(ctx, url)
		return err
	}
}
