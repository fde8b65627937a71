package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/state"
)

// logOptions are the flags of `alloc logs` and `job logs`.
type logOptions struct {
	follow, stderr, stdout, previous bool
	task                             string
	tail, lines                      int
	bytes                            int64
	since                            sinceFlag
}

// sinceFlag is the value of --since: how long ago, or a time.
type sinceFlag struct {
	ago time.Duration
	at  time.Time
}

// Set reads the flag's value.
func (s *sinceFlag) Set(text string) error {
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		s.ago = d
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			s.at = at
			return nil
		}
	}
	return fmt.Errorf("%q is neither a duration such as 5m nor a time such as 2026-01-02T15:04:05", text)
}

// String is the flag's value.
func (s *sinceFlag) String() string {
	switch {
	case s.ago > 0:
		return s.ago.String()
	case !s.at.IsZero():
		return s.at.Format(time.RFC3339)
	}
	return ""
}

// Type is the word for the value in help.
func (s *sinceFlag) Type() string { return "time" }

func (o *logOptions) addFlags(fs *pflag.FlagSet) {
	fs.BoolVarP(&o.follow, "follow", "f", false, "go on as the tasks write, until they have ended")
	fs.BoolVar(&o.stderr, "stderr", false, "only the standard error")
	fs.BoolVar(&o.stdout, "stdout", false, "only the standard output")
	fs.StringVar(&o.task, "task", "", "only this `task`")
	fs.IntVar(&o.tail, "tail", 0, "only the last so many lines of each stream; 0 for all")
	fs.IntVarP(&o.lines, "lines", "n", 0, "the same as --tail")
	fs.Int64VarP(&o.bytes, "bytes", "c", 0, "only the last so many bytes of each stream; 0 for all")
	fs.Var(&o.since, "since", "only what was written since a `time`, or so long ago (5m); a little more is shown where it is not known exactly")
}

// check says what is wrong with the flags.
func (o *logOptions) check() error {
	if o.tail < 0 || o.lines < 0 || o.bytes < 0 {
		return errors.New("--tail, --lines and --bytes count from the end: give them a number of 0 or more")
	}
	return nil
}

// kinds are the streams that the flags ask for.
func (o *logOptions) kinds() []string {
	switch {
	case o.stderr && !o.stdout:
		return []string{api.LogStderr}
	case o.stdout && !o.stderr:
		return []string{api.LogStdout}
	}
	return []string{api.LogStdout, api.LogStderr}
}

// request asks for one stream of a task.
func (o *logOptions) request(id, task, kind string) api.LogsRequest {
	req := api.LogsRequest{
		AllocID: id, Task: task, Type: kind, Follow: o.follow, Origin: api.LogFromStart, Tail: max(o.tail, o.lines),
		Previous: o.previous, Ago: o.since.ago, Since: o.since.at,
	}
	if o.bytes > 0 {
		req.Origin, req.Offset = api.LogFromEnd, o.bytes
	}
	return req
}

func newAllocLogs(a *app) *cobra.Command {
	var o logOptions
	cmd := &cobra.Command{
		Use:   "logs <alloc|job> [task]",
		Short: "Print what the tasks of one copy have written",
		Long: `Print what the tasks of an allocation have written: their standard output to the standard output, their standard error to the standard
error. Of several tasks each line has its task before it. Of a job the newest copy that runs is taken, or else the newest;
` + "`drover job logs`" + ` prints those of all.

With -f it goes on as the tasks write, until they have ended. With --previous it prints what the run before the latest wrote, or the
copy that this one replaces.`,
		Example: "  drover alloc logs 8f3c\n  drover alloc logs -f --stderr 8f3c web\n  drover alloc logs --tail 20 hello\n  drover alloc logs --previous --since 1h hello",
		Args:    arguments(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 2 {
				o.task = args[1]
			}
			return printLogs(cmd.Context(), a, o, args[0])
		},
		ValidArgsFunction: a.completeTasks,
	}
	o.addFlags(cmd.Flags())
	cmd.Flags().BoolVarP(&o.previous, "previous", "p", false, "of the run before the latest")
	cmd.MarkFlagsMutuallyExclusive("tail", "lines", "bytes")
	cmd.MarkFlagsMutuallyExclusive("previous", "follow")
	return cmd
}

func printLogs(ctx context.Context, a *app, o logOptions, word string) error {
	if err := o.check(); err != nil {
		return err
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	x, err := a.pickAlloc(ctx, c, word, false)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(x.ID, word) && !o.previous {
		fmt.Fprintf(a.err, "Logs of %s (%s) on %s:\n", shortID(x.ID, false), x.Name, x.NodeName)
	}
	if o.previous {
		if x, err = a.previousOf(ctx, c, &o, x); err != nil {
			return err
		}
	}
	tasks := []string{o.task}
	if o.task == "" && len(x.TaskStates) > 1 {
		tasks = sortedKeys(x.TaskStates)
	}
	m := newMerged(a)
	var streams []logStream
	for _, task := range tasks {
		prefix := ""
		if len(tasks) > 1 {
			prefix = m.prefix(task)
		}
		for _, kind := range o.kinds() {
			streams = append(streams, logStream{req: o.request(x.ID, task, kind), prefix: prefix, who: shortID(x.ID, false)})
		}
	}
	return m.all(ctx, c, o.follow, streams)
}

// previousOf is the copy whose log has the run before the latest: the same one when its task was started again there, or else the
// one that it replaces, of which everything is wanted.
func (a *app) previousOf(ctx context.Context, c *api.Client, o *logOptions, x api.AllocListItem) (api.AllocListItem, error) {
	for name, t := range x.TaskStates {
		if t.Restarts > 0 && (o.task == "" || o.task == name) {
			if o.task == "" && len(x.TaskStates) > 1 {
				o.task = name // others may not have run before
			}
			return x, nil
		}
	}
	if x.PreviousAllocation == "" {
		return x, fmt.Errorf("allocation %s runs for the first time, and replaces none: there is no run before", shortID(x.ID, false))
	}
	o.previous = false
	prev, err := c.FindAllocation(ctx, x.PreviousAllocation, api.QueryOptions{Namespace: x.Namespace})
	if err == nil {
		fmt.Fprintf(a.err, "Logs of %s (%s) on %s, which %s replaces:\n", shortID(prev.ID, false), prev.Name, prev.NodeName, shortID(x.ID, false))
	}
	return prev, err
}

// pickAlloc is the allocation that a word names: by its ID, or as the copy of a job to look at first. With onlyJob the
// word is a job's.
func (a *app) pickAlloc(ctx context.Context, c *api.Client, word string, onlyJob bool) (api.AllocListItem, error) {
	if !onlyJob {
		x, err := c.FindAllocation(ctx, word, api.QueryOptions{})
		if err == nil || !isNotFound(err) {
			return x, err
		}
	}
	job, err := c.FindJob(ctx, word, api.QueryOptions{})
	if isNotFound(err) {
		return api.AllocListItem{}, api.NewError(api.CodeNotFound, "list them with `drover alloc status` and `drover job status`", "no allocation and no job begins with %q", word)
	}
	if err != nil {
		return api.AllocListItem{}, err
	}
	list := func(ctx context.Context, q api.QueryOptions) ([]api.AllocListItem, api.QueryMeta, error) {
		return c.JobAllocations(ctx, job.ID, q)
	}
	allocs, _, err := api.All(ctx, list, api.QueryOptions{Namespace: job.Namespace})
	if err != nil {
		return api.AllocListItem{}, err
	}
	if len(allocs) == 0 {
		return api.AllocListItem{}, fmt.Errorf("job %q has no allocation yet; `drover job why %s` says why", job.ID, job.ID)
	}
	sort.SliceStable(allocs, func(i, j int) bool {
		ri, rj := allocs[i].ClientStatus == state.ClientRunning, allocs[j].ClientStatus == state.ClientRunning
		if ri != rj {
			return ri
		}
		return allocs[i].CreateIndex > allocs[j].CreateIndex
	})
	return allocs[0], nil
}

// logStream is one stream of one task, and what stands before its lines.
type logStream struct {
	req    api.LogsRequest
	prefix string
	who    string // for messages
}

// merged prints several streams, line by line.
type merged struct {
	a       *app
	mu      sync.Mutex
	out     io.Writer
	colours int
}

func newMerged(a *app) *merged { return &merged{a: a, out: a.plainOut()} }

// prefixColours are told apart on light and dark grounds.
func prefixColours() []string {
	return []string{"36", "33", "32", "35", "34", "96", "93", "92", "95", "94"}
}

// prefix makes what stands before the lines of a name, in a colour of its own where there are any.
func (m *merged) prefix(name string) string {
	all := prefixColours()
	colour := all[m.colours%len(all)]
	m.colours++
	return paint(m.a.out, colour, oneLine(name)+" | ")
}

// all prints every stream: those that are followed at the same time, others in turn. The end of ctx is no error when following.
func (m *merged) all(ctx context.Context, c *api.Client, follow bool, streams []logStream) error {
	var wg sync.WaitGroup
	errs := make([]error, len(streams))
	for i, s := range streams {
		if !follow {
			errs[i] = m.one(ctx, c, s)
			continue
		}
		wg.Go(func() { errs[i] = m.one(ctx, c, s) })
	}
	wg.Wait()
	if ctx.Err() != nil && follow {
		return nil // interrupted: that is how following ends
	}
	return errors.Join(dedup(errs)...)
}

// dedup leaves each message once: both streams of a task that is not there say the same.
func dedup(errs []error) []error {
	seen := map[string]bool{}
	var out []error
	for _, err := range errs {
		if err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			out = append(out, err)
		}
	}
	return out
}

// one prints one stream to its end.
func (m *merged) one(ctx context.Context, c *api.Client, s logStream) error {
	body, err := c.Logs(ctx, s.req)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }() // read to its end, or given up
	to := m.out
	if s.req.Type == api.LogStderr {
		to = m.a.err
	}
	w := &lines{m: m, to: to, prefix: s.prefix}
	_, err = io.Copy(w, body)
	w.end()
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("the log of %s broke off: %w; what runs runs on, ask again", s.who, err)
	}
	return nil
}

// maxLine bounds how much of a line without an end is kept back.
const maxLine = 64 << 10

// lines writes whole lines with a prefix, or everything as it comes when there is none.
type lines struct {
	m       *merged
	to      io.Writer
	prefix  string
	pending []byte
}

// Write hands on the lines that are whole.
func (l *lines) Write(p []byte) (int, error) {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if l.prefix == "" {
		return l.to.Write(p)
	}
	for _, b := range p {
		l.pending = append(l.pending, b)
		if b == '\n' || len(l.pending) >= maxLine {
			if err := l.flush(b == '\n'); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

func (l *lines) flush(whole bool) error {
	text := l.prefix + string(l.pending)
	if !whole {
		text += "\n"
	}
	l.pending = l.pending[:0]
	_, err := io.WriteString(l.to, text)
	return err
}

// end writes the last line, which nothing ended.
func (l *lines) end() {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	if len(l.pending) > 0 {
		_ = l.flush(false) // the reader has gone when it fails, which ended the stream
	}
}
