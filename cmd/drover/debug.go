package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/drover-io/drover/api"
)

// debugOptions are the flags of `operator debug`.
type debugOptions struct {
	output   string
	duration time.Duration
	level    string
	agents   []string
	profiles bool
	jobs     bool
}

const (
	// debugMost bounds --duration: it is how long an agent measures at most.
	debugMost = 30 * time.Second
	// debugStep bounds one question to one agent, beside --duration.
	debugStep = 15 * time.Second
)

func newOperatorDebug(a *app) *cobra.Command {
	var o debugOptions
	cmd := &cobra.Command{
		Use:   "debug",
		Short: "Collect what helps to find a fault into one archive",
		Long: `Collect what helps to find a fault into one archive (tar.gz): the members, the Raft configuration, jobs, allocations and nodes, and of every
agent that can be reached, through the one that is asked, what it says of itself, its health, metrics, machine, profiles and its log for
--duration. What could not be had is listed in errors.txt.

Values of environment variables, and of whatever is called like a secret, are replaced before they are written.`,
		Example: "  drover operator debug\n  drover operator debug --duration 30s --log-level debug --output /tmp\n  drover operator debug --agent m1 --no-profiles",
		Args:    arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.duration < time.Second || o.duration > debugMost {
				return fmt.Errorf("--duration %s: give 1s to %s", o.duration, debugMost)
			}
			skip, err := cmd.Flags().GetBool("no-profiles")
			if err != nil {
				return err
			}
			o.profiles = !skip
			return o.run(cmd.Context(), a)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&o.output, "output", ".", "directory, or `file` that ends in .tar.gz, to write to")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "how long to read logs and to measure the processor, 1s to 30s")
	fs.StringVar(&o.level, "log-level", "debug", "log lines of this `level` and above")
	fs.StringArrayVar(&o.agents, "agent", nil, "only this `agent` of all (repeat for more)")
	fs.Bool("no-profiles", false, "no profiles of the processes")
	fs.BoolVar(&o.jobs, "jobs", true, "the specifications of jobs too")
	return cmd
}

func (o debugOptions) run(ctx context.Context, a *app) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	if _, err := c.AgentSelf(ctx); err != nil {
		return err // there is nobody to ask
	}
	started := time.Now()
	name := "drover-debug-" + started.UTC().Format("2006-01-02T150405Z")
	path := o.output
	if filepath.Ext(path) != ".gz" {
		path = filepath.Join(path, name+".tar.gz")
	}
	b, err := newBundle(path, name, started)
	if err != nil {
		return err
	}
	g := &gatherer{debugOptions: o, a: a, c: c, b: b, started: started}
	g.gather(ctx)
	if ctx.Err() != nil {
		return errors.Join(ctx.Err(), b.discard())
	}
	size, err := b.close()
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	fmt.Fprintf(a.out, "Wrote %s, %d KiB: %s of %s.\n", path, (size+1023)/1024, plural(b.files, "file"), plural(g.reached, "agent"))
	if n := len(b.errs); n > 0 {
		fmt.Fprintf(a.out, "%s could not be had; errors.txt in the archive lists them, the first: %s\n", plural(n, "thing"), firstLine(b.errs[0]))
	}
	return nil
}

// putJSON adds an answer of the API, with what is secret replaced.
func (g *gatherer) putJSON(name string, v any, err error) {
	if err == nil {
		var data []byte
		if data, err = redactedJSON(v); err == nil {
			err = g.b.put(name, data)
		}
	}
	g.b.note(name, err)
}

// putStream adds what a reader gives, up to the bound of a file.
func (g *gatherer) putStream(name string, r io.ReadCloser, err error) {
	if err != nil {
		g.b.note(name, err)
		return
	}
	data, err := io.ReadAll(io.LimitReader(r, maxBundleFile))
	_ = r.Close() // read as far as wanted
	if errors.Is(err, context.DeadlineExceeded) {
		err = nil // a log that was read for as long as wanted
	}
	if len(data) > 0 || err == nil {
		g.b.note(name, g.b.put(name, data))
	}
	g.b.note(name, err)
}

func (g *gatherer) step(format string, args ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	fmt.Fprintf(g.a.err, "  %5.1fs  %s\n", time.Since(g.started).Seconds(), fmt.Sprintf(format, args...))
}

// all reads every page of a list, of all namespaces and from any server that answers.
func all[T any](ctx context.Context, list func(context.Context, api.QueryOptions) ([]T, api.QueryMeta, error), namespace string) ([]T, error) {
	q := api.QueryOptions{Namespace: namespace, Stale: true}
	out, _, err := api.All(ctx, list, q)
	return out, err
}
