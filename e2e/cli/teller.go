package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/e2e/herd"
	"github.com/drover-io/drover/internal/story"
	"github.com/drover-io/drover/internal/waitfor"
)

const (
	// lineTimeout bounds one command line: it is for what hangs, not for what is slow on a busy machine.
	lineTimeout = 3 * time.Minute
	// waitTimeout bounds one wait.
	waitTimeout = 2 * time.Minute
)

// prelude is what every command line begins with.
const prelude = `alloc() { drover alloc status -A -json | "$CLI_STORIES" newest "$1"; }
image() { "$CLI_STORIES" image "$HELLO" "$@"; }
get() { "$CLI_STORIES" get "$1"; }
by() { IFS= read -r head; printf '%s\n' "$head"; sort -k"$1,$1"; }
`

// teller types command lines in a shell.
type teller struct {
	ctx     context.Context
	o       options
	h       *herd.Herd
	tmp     string
	env     []string
	version *regexp.Regexp // finds the binary's
	err     error          // the first thing that went wrong with the telling itself
}

var _ story.Teller = (*teller)(nil)

// tell tells a story, and clears the cluster behind it.
func tell(ctx context.Context, o options, h *herd.Herd, text string) (string, error) {
	tmp, err := os.MkdirTemp("", "drover-story-")
	if err != nil {
		return "", err
	}
	t := &teller{ctx: ctx, o: o, h: h, tmp: tmp}
	if err := t.setEnv(); err != nil {
		return "", errors.Join(err, os.RemoveAll(tmp))
	}
	got := story.Tell(text, t)
	return got, errors.Join(t.err, t.clear(), os.RemoveAll(tmp))
}

func (t *teller) setEnv() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	bin := filepath.Join(t.tmp, ".bin")
	if err := errors.Join(os.Mkdir(bin, 0o755), os.Symlink(t.o.drover, filepath.Join(bin, "drover"))); err != nil {
		return err
	}
	t.env = []string{
		"PATH=" + bin + ":" + os.Getenv("PATH"), "HOME=" + t.tmp, "TMP=" + t.tmp, "HELLO=" + t.o.hello, "TERM=xterm", "TZ=UTC", "LC_ALL=C.UTF-8",
		"CLI_STORIES=" + self, "DROVER_ADDR=" + t.h.Nodes[0].Addr(),
		"HOSTIP=" + herd.HostIP().String(), "M1IP=" + t.h.Nodes[0].IP.String(),
	}
	nodes, _, err := t.h.Nodes[0].API.Nodes(t.ctx, api.QueryOptions{})
	if err != nil {
		return err
	}
	self1, err := t.h.Nodes[0].API.AgentSelf(t.ctx)
	if err != nil {
		return err
	}
	t.version = regexp.MustCompile(`(\s)` + regexp.QuoteMeta(self1.Version) + `\b`)
	for i, m := range t.h.Nodes {
		t.env = append(t.env, fmt.Sprintf("M%d=%s", i+1, m.Addr()))
		for _, n := range nodes {
			if n.Name == m.Name {
				t.env = append(t.env, fmt.Sprintf("N%d=%s", i+1, n.ID))
			}
		}
	}
	return nil
}

// shell runs a line, and returns what it prints and its exit code.
func (t *teller) shell(line string) (string, int) {
	ctx, cancel := context.WithTimeout(t.ctx, lineTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", prelude+line)
	cmd.Dir, cmd.Env = t.o.stories, t.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return out.String() + fmt.Sprintf("[did not end within %s]\n", lineTimeout), -1
	case err != nil && !errors.As(err, &exit):
		t.fail(fmt.Errorf("run %q: %w", line, err))
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

func (t *teller) fail(err error) {
	if t.err == nil {
		t.err = err
	}
}

// Type runs a command line.
func (t *teller) Type(line string) string {
	if t.err != nil || t.ctx.Err() != nil {
		return ""
	}
	out, code := t.shell(line)
	if code == 0 && story.AsksJSON(strings.Fields(line)) && !strings.ContainsAny(line, "|>") {
		shape, err := story.Outline(out)
		if err != nil {
			shape = fmt.Sprintf("[no JSON: %v]\n%s", err, out)
		}
		out = shape
	}
	return story.Printed(t.normal(out), code)
}

// normal replaces what differs from herd to herd.
func (t *teller) normal(text string) string {
	text = strings.ReplaceAll(strings.ReplaceAll(text, t.tmp, "$TMP"), t.o.hello, "$HELLO")
	text = strings.ReplaceAll(text, herd.HostIP().String(), "HOSTIP")
	for i, n := range t.h.Nodes {
		host := strings.TrimPrefix(n.Addr(), "http://")
		text = strings.ReplaceAll(text, host, fmt.Sprintf("M%d", i+1))
		if !t.h.Loopback {
			text = strings.ReplaceAll(text, n.IP.String(), fmt.Sprintf("IP%d", i+1))
		}
	}
	return story.Anywhere(t.version.ReplaceAllString(text, "${1}BUILD"))
}

// Wait waits for copies of a job, or until a command succeeds.
func (t *teller) Wait(line string) {
	if t.err != nil || t.ctx.Err() != nil {
		return
	}
	check := func(context.Context) error { return t.copies(line) }
	if command, ok := strings.CutPrefix(line, "until "); ok {
		check = func(context.Context) error {
			out, code := t.shell(command)
			if code != 0 {
				return fmt.Errorf("exit %d: %s", code, out)
			}
			return nil
		}
	}
	if _, err := waitfor.True(t.ctx, waitTimeout, 50*time.Millisecond, check); err != nil {
		t.fail(fmt.Errorf("= %s: %w", line, err))
	}
}

// copies checks "job N status".
func (t *teller) copies(line string) error {
	f := strings.Fields(line)
	if len(f) != 3 {
		return fmt.Errorf("want = job N status, or = until COMMAND")
	}
	want, err := strconv.Atoi(f[1])
	if err != nil {
		return err
	}
	allocs, _, err := t.h.Nodes[0].API.JobAllocations(t.ctx, f[0], api.QueryOptions{})
	if err != nil {
		return err
	}
	got := 0
	for _, x := range allocs {
		if x.ClientStatus == f[2] && x.DesiredStatus == "run" {
			got++
		}
	}
	if got != want {
		return fmt.Errorf("%d are", got)
	}
	return nil
}

// clear purges all jobs and waits until nothing of them is left, removes imported images, and lets every node take work.
func (t *teller) clear() error {
	c := t.h.Nodes[0].API
	_, err := waitfor.True(t.ctx, waitTimeout, 50*time.Millisecond, func(ctx context.Context) error {
		jobs, _, err := c.Jobs(ctx, api.QueryOptions{Namespace: api.AllNamespaces})
		if err != nil {
			return err
		}
		for _, j := range jobs {
			if _, err := c.StopJob(ctx, j.ID, true, api.WriteOptions{Namespace: j.Namespace}); err != nil {
				return err
			}
		}
		nodes, _, err := c.Nodes(ctx, api.QueryOptions{})
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if n.SchedulingEligibility == "eligible" {
				continue
			}
			if _, err := c.SetEligibility(ctx, n.ID, "eligible", api.WriteOptions{}); err != nil {
				return err
			}
		}
		if err := removeImages(ctx, c); err != nil {
			return err
		}
		if _, err := c.CollectGarbage(ctx); err != nil {
			return err
		}
		if len(jobs) > 0 {
			return fmt.Errorf("%d jobs are left", len(jobs))
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("clear the cluster behind the story: %w", err)
	}
	return nil
}

// removeImages removes what was imported.
func removeImages(ctx context.Context, c *api.Client) error {
	images, _, err := c.Images(ctx, api.QueryOptions{})
	if err != nil {
		return err
	}
	for _, img := range images {
		if _, err := c.RemoveImage(ctx, img.Digest, true, api.WriteOptions{}); err != nil {
			return err
		}
	}
	return nil
}
