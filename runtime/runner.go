package runtime

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/drover-io/drover/state"
)

// Config is what a Runner needs to know. DefaultConfig gives the figures.
type Config struct {
	NodeID    string
	Dir       string            // <data>/client; allocations live in allocs/ below it
	Drivers   map[string]Driver // by canonical name
	ClusterID func() string     // "" while it is not known; nil means always
	Node      func() *state.Node
	Boot      uint64 // the agent's boot counter; reports are of this boot
	BootID    string // the kernel's boot ID; "" means that a reboot is never noticed

	// Steps gives what an allocation needs before its tasks start besides its directories; nil means nothing. It is called often
	// and must be cheap; the work is in the steps.
	Steps func(StepInput) []Step
	// Complete changes a task's specification before it starts: what steps made, such as NetNS. nil means nothing.
	Complete func(StepInput, *TaskSpec)

	Cgroup string // parent of the tasks' cgroups below the root, "/drover/<node>"; "" means none are asked for
	// Pin keeps a cgroup on some cores, see Cpusets; nil means that cores are not kept apart.
	Pin func(cgroup string, cores []int) error
	// Devices are those of this machine that tasks may get; nil means none.
	Devices func() []HostDevice

	HostEnv        map[string]string // environment that tasks outside containers inherit
	MaxKillTimeout time.Duration     // cap of a task's kill_timeout
	MaxEnded       int               // ended allocations whose directories are kept without the leader's word
	ListEvery      time.Duration     // between looks at what the drivers have
	TrimEvery      time.Duration     // longest time between looks at the sizes of log files
	TidyEvery      time.Duration     // between requests to the drivers to tidy up; 0 means never
	NoSync         bool              // records are not synced to disk: for simulations
	Logger         hclog.Logger

	fault func(op string) error // tests: called before each write of a record, "save <phase of what>"
}

// DefaultConfig has the figures that documents promise.
func DefaultConfig() Config {
	env := map[string]string{}
	for _, name := range []string{"PATH", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env[name] = v
		}
	}
	return Config{
		HostEnv:        env,
		MaxKillTimeout: 30 * time.Second,
		MaxEnded:       50,
		ListEvery:      time.Minute,
		TrimEvery:      10 * time.Second,
		Logger:         hclog.NewNullLogger(),
	}
}

// Validate checks the configuration.
func (c Config) Validate() error {
	var errs []error
	if c.NodeID == "" {
		errs = append(errs, errors.New("no node ID"))
	}
	if !filepath.IsAbs(c.Dir) {
		errs = append(errs, fmt.Errorf("directory %q is not absolute", c.Dir))
	}
	if c.MaxKillTimeout <= 0 || c.ListEvery <= 0 || c.TrimEvery <= 0 {
		errs = append(errs, errors.New("a duration is not positive, start from DefaultConfig"))
	}
	return errors.Join(errs...)
}

// Runner makes this machine's tasks equal to the node's allocations.
type Runner struct {
	cfg     Config
	log     hclog.Logger
	drivers map[string]*listed
	kicked  chan struct{} // capacity 1: look again
	reports chan struct{} // capacity 1: something to report

	mu     sync.Mutex // before any alloc.mu
	allocs map[string]*alloc
	ledger ledger

	pins      pins
	commands  counter // that run inside tasks by a user's wish
	taskMeter meter[TaskID]
}

// Open reads the allocation directories and asks the drivers what they have. It starts and stops nothing.
func Open(cfg Config) (*Runner, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("open runner: %w", err)
	}
	if cfg.Logger == nil {
		cfg.Logger = hclog.NewNullLogger()
	}
	if cfg.ClusterID == nil {
		cfg.ClusterID = func() string { return "" }
	}
	if cfg.Node == nil {
		cfg.Node = func() *state.Node { return &state.Node{ID: cfg.NodeID} }
	}
	r := &Runner{
		cfg: cfg, log: cfg.Logger.Named("runner"),
		drivers: map[string]*listed{}, allocs: map[string]*alloc{},
		kicked: make(chan struct{}, 1), reports: make(chan struct{}, 1),
	}
	if err := os.MkdirAll(r.allocsDir(), 0o711); err != nil {
		return nil, fmt.Errorf("open runner: %w", err)
	}
	dir, err := filepath.EvalSymlinks(cfg.Dir) // mounts are listed by their real paths
	if err != nil {
		return nil, fmt.Errorf("open runner: %w", err)
	}
	r.cfg.Dir = dir
	records, err := scanAllocs(r.allocsDir(), func(id string, err error) {
		r.log.Warn("allocation has no readable record, waiting for the leader's word on it", "alloc", id, "error", err)
	})
	if err != nil {
		return nil, fmt.Errorf("open runner: %w", err)
	}
	for _, id := range slices.Sorted(maps.Keys(records)) {
		a := newAlloc(r, id)
		a.restore(records[id])
		r.allocs[id] = a
		if records[id] != nil {
			r.ledger.touch(a)
		}
	}
	for name, d := range cfg.Drivers {
		r.drivers[name] = &listed{driver: d, tasks: map[TaskID]Found{}}
	}
	r.listAll(context.Background(), 5*time.Second)
	r.notify()
	return r, nil
}

// Run does the work until ctx ends and everything it started has returned. Tasks run on.
func (r *Runner) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { r.tendLogs(ctx) })
	wg.Go(func() { r.tidyUp(ctx) })
	list := time.NewTicker(r.cfg.ListEvery)
	defer list.Stop()
	r.pinTasks()
	for ctx.Err() == nil {
		r.dispatch(ctx, &wg)
		select {
		case <-ctx.Done():
			return nil
		case <-r.kicked:
		case <-list.C:
			wg.Go(func() { r.listAll(ctx, r.cfg.ListEvery/2) })
			r.pinTasks() // the machine may have other cores now, and the kernel may have refused some
		}
	}
	return nil
}

// dispatch gives a goroutine to every allocation that has something to do and has none.
func (r *Runner) dispatch(ctx context.Context, wg *sync.WaitGroup) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.collectEnded()
	for _, a := range r.allocs {
		if a.busy || !a.hasWork() {
			continue
		}
		a.busy = true
		wg.Go(func() {
			a.live(ctx)
			r.mu.Lock()
			a.busy = false
			r.mu.Unlock()
			r.kick()
		})
	}
}

// collectEnded bounds the directories of ended allocations: the oldest go that the leader knows to have ended.
func (r *Runner) collectEnded() {
	if len(r.allocs) <= r.cfg.MaxEnded {
		return
	}
	var ended []*alloc
	for _, a := range r.allocs {
		if rec := a.record(); rec != nil && rec.Ended && !r.ledger.owes(a) {
			ended = append(ended, a)
		}
	}
	if len(ended) <= r.cfg.MaxEnded {
		return
	}
	slices.SortFunc(ended, func(x, y *alloc) int {
		return int(min(max(x.record().EndedAt-y.record().EndedAt, -1), 1))
	})
	for _, a := range ended[:len(ended)-r.cfg.MaxEnded] {
		a.end(wantGone)
	}
}

// RestartAlloc stops one task of a running allocation, or all of them when task is "", and starts it again without counting it
// as a restart of its policy. It returns when the new runs have started or failed to, or ctx has ended.
func (r *Runner) RestartAlloc(ctx context.Context, allocID, task string) error {
	a, err := r.alloc(allocID)
	if err != nil {
		return fmt.Errorf("restart allocation %s: %w", allocID, err)
	}
	if err := a.restart(ctx, task); err != nil {
		return fmt.Errorf("restart allocation %s: %w", allocID, err)
	}
	return nil
}

// Tasks gives the states of an allocation's tasks. ErrNotFound: the allocation is not on this machine.
func (r *Runner) Tasks(allocID string) (map[string]state.TaskState, error) {
	a, err := r.alloc(allocID)
	if err != nil {
		return nil, err
	}
	return a.report().Tasks, nil
}

// AllocDir is the directory of an allocation. ErrNotFound: the allocation is not on this machine.
func (r *Runner) AllocDir(allocID string) (string, error) {
	a, err := r.alloc(allocID)
	if err != nil {
		return "", err
	}
	return a.dir, nil
}

// Ports are the ports given to an allocation. ErrNotFound: the allocation is not on this machine.
func (r *Runner) Ports(allocID string) ([]state.AllocPort, error) {
	a, err := r.alloc(allocID)
	if err != nil {
		return nil, err
	}
	rec := a.record()
	if rec == nil {
		return nil, nil
	}
	return slices.Clone(rec.Alloc.Ports), nil
}

// Stats reads what the running tasks of an allocation use. Tasks whose driver cannot tell are left out.
func (r *Runner) Stats(ctx context.Context, allocID string) (map[string]Usage, error) {
	a, err := r.alloc(allocID)
	if err != nil {
		return nil, err
	}
	rec := a.record()
	if rec == nil {
		return map[string]Usage{}, nil
	}
	usage := map[string]Usage{}
	for _, t := range rec.group().Tasks {
		reader, ok := r.cfg.Drivers[CanonicalDriver(t.Driver)].(StatsReader)
		if !ok || rec.Tasks[t.Name].Phase != phaseRunning {
			continue
		}
		u, err := reader.Stats(ctx, TaskID{AllocID: allocID, Task: t.Name})
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read stats of task %s: %w", t.Name, err)
		}
		usage[t.Name] = u
	}
	return usage, nil
}

func (r *Runner) alloc(id string) (*alloc, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a, ok := r.allocs[id]; ok {
		return a, nil
	}
	return nil, fmt.Errorf("allocation %s is not on this machine: %w", id, ErrNotFound)
}

// forget drops an allocation of which nothing is left.
func (r *Runner) forget(a *alloc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.allocs, a.id)
	r.ledger.drop(a)
}

func (r *Runner) kick() {
	select {
	case r.kicked <- struct{}{}:
	default:
	}
}

func (r *Runner) allocsDir() string { return filepath.Join(r.cfg.Dir, "allocs") }

// driverNames lists the drivers for messages.
func (r *Runner) driverNames() string {
	names := slices.Sorted(maps.Keys(r.cfg.Drivers))
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
