package sched

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/drover-io/drover/state"
)

var rewrite = flag.Bool("rewrite", false, "write what the stories say now into their files")

// TestStories plays testdata/*.txt. A line that begins with "> " is what the line above it answered; all others are what
// happens. `go test ./sched -run Stories -rewrite` accepts new answers.
func TestStories(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no stories: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := (&story{t: t}).play(string(want))
			if *rewrite {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("the story goes differently (accept with -rewrite):\n%s", got)
			}
		})
	}
}

// story is a story being told.
type story struct {
	t *testing.T
	w *world
}

func (s *story) play(text string) []byte {
	var out bytes.Buffer
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		if strings.HasPrefix(line, "> ") {
			continue
		}
		out.WriteString(line + "\n")
		words := split(line)
		if len(words) == 0 || strings.HasPrefix(line, "#") {
			continue
		}
		if s.w == nil {
			s.w = newWorld(s.t, s.options(words))
			if words[0] == "options" {
				continue
			}
		}
		var groups [][]string
		for i+1 < len(lines) && strings.HasPrefix(lines[i+1], "  group ") {
			i++
			out.WriteString(lines[i] + "\n")
			groups = append(groups, split(lines[i])[1:])
		}
		for _, answer := range s.do(words[0], words[1:], groups) {
			out.WriteString("> " + answer + "\n")
		}
		s.w.checkCapacity()
	}
	return out.Bytes()
}

func (s *story) options(words []string) Options {
	if words[0] != "options" {
		return Options{}
	}
	args := pairs(words[1:])
	return Options{Algorithm: Algorithm(args["algorithm"]), PlanCopies: number(s.t, args["copies"])}
}

func (s *story) do(verb string, args []string, groups [][]string) []string {
	w := s.w
	switch verb {
	case "node":
		w.node(args[0], func(n *state.Node) { s.describeNode(n, pairs(args[1:])) })
	case "shrinks":
		n := *w.snap().Node(args[0])
		n.Boot++
		s.describeNode(&n, pairs(args[1:]))
		w.must(state.RegisterNode{Node: &n, Time: w.now})
		w.shrunk[args[0]] = true
	case "job":
		w.register(s.job(args, groups))
	case "plan":
		return planView(DryRun(w.snap(), s.job(args, groups), w.now))
	case "config":
		s.configure(pairs(args))
	case "pool":
		s.pool(args[0], pairs(args[1:]))
	case "stop", "purge":
		w.must(state.StopJob{Namespace: "default", JobID: args[0], Purge: verb == "purge", Time: w.now})
	case "move":
		w.must(state.StopAlloc{AllocID: w.latest(args[0]).ID, Time: w.now})
	case "obey":
		w.obey()
	case "says":
		w.report(w.latest(args[0]), args[1])
	case "down", "disconnected", "ready":
		w.status(args[0], verb)
	case "returns":
		w.comeBack(args[0])
	case "lost":
		w.must(state.DeclareNodeLost{NodeID: args[0], Time: w.now})
	case "eligible", "ineligible":
		w.must(state.SetEligibility{NodeID: args[0], Eligibility: verb, Time: w.now})
	case "wait":
		w.now += int64(duration(s.t, args[0]))
	case "decide":
		return s.decide(len(args) > 0)
	case "why":
		return explanation(Explain(w.snap(), "default", args[0], w.now))
	case "why-alloc":
		return allocExplanation(w.cur.opts.ExplainAlloc(w.snap(), w.latest(args[0]).ID, w.now))
	case "why-node":
		return nodeExplanation(ExplainNode(w.snap(), args[0], w.now))
	case "warns":
		return Warnings(w.snap(), s.job(args, groups))
	case "show":
		return s.show()
	case "observe", "judge", "allow":
		return s.judge(verb, args)
	case "garbage":
		return s.garbage()
	default:
		s.t.Fatalf("a story cannot say %q", verb)
	}
	return nil
}

// configure reads algorithm=spread oversubscription=on: the cluster's scheduler configuration.
func (s *story) configure(args map[string]string) {
	c := state.SchedulerConfig{SchedulerAlgorithm: state.AlgorithmBinPack, MemoryOversubscriptionEnabled: args["oversubscription"] == "on"}
	if a := args["algorithm"]; a != "" {
		c.SchedulerAlgorithm = a
	}
	s.w.must(state.SetSchedulerConfig{Config: c, Time: s.w.now})
}

// pool reads a node pool that is placed by settings of its own.
func (s *story) pool(name string, args map[string]string) {
	c := &state.NodePoolSchedulerConfig{SchedulerAlgorithm: args["algorithm"]}
	if o := args["oversubscription"]; o != "" {
		on := o == "on"
		c.MemoryOversubscriptionEnabled = &on
	}
	s.w.must(state.UpsertNodePool{Pool: &state.NodePool{Name: name, SchedulerConfiguration: c}, Time: s.w.now})
}

// decide runs one pass, or passes until there is nothing to do.
func (s *story) decide(once bool) []string {
	var out []string
	for {
		before := s.w.snap()
		plan, result, wake := s.w.pass()
		if plan == nil {
			if len(out) == 0 {
				out = append(out, "nothing to do")
			}
			if wake != 0 {
				out = append(out, fmt.Sprintf("look again in %s", time.Duration(wake-s.w.now)))
			}
			return out
		}
		out = append(out, planLines(before, plan)...)
		for _, d := range result.Dropped {
			out = append(out, "REFUSED: "+d.Reason)
		}
		if once {
			return out
		}
	}
}

// show lists every allocation.
func (s *story) show() []string {
	var out []string
	snap := s.w.snap()
	for a := range snap.Allocs() {
		line := fmt.Sprintf("%s on %s: version %d, desired %s, %s", a.Name, a.NodeID, a.JobVersion, a.DesiredStatus, snap.ClientStatus(a))
		if r := a.Resources; len(r.Cores)+len(r.Devices)+r.MemoryMaxMB > 0 {
			line += holds(&r)
		}
		if len(a.RescheduleEvents) > 0 {
			line += fmt.Sprintf(", rescheduled %d times", len(a.RescheduleEvents))
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out
}

// holds says which cores, devices and memory beyond its own an allocation has.
func holds(r *state.AllocResources) string {
	out := ""
	if len(r.Cores) > 0 {
		out += fmt.Sprintf(", cores %v (%d MHz)", r.Cores, r.CPU)
	}
	for _, d := range r.Devices {
		out += fmt.Sprintf(", %s %v", d.ID(), d.IDs)
	}
	if r.MemoryMaxMB > 0 {
		out += fmt.Sprintf(", memory %d MiB up to %d MiB", r.MemoryMB, r.MemoryMaxMB)
	}
	return out
}

func (s *story) judge(verb string, args []string) []string {
	w := s.w
	switch verb {
	case "allow":
		w.must(state.AllowEvictions{Time: w.now})
		return nil
	case "observe":
		evidence := Evidence(args[len(args)-1])
		for _, node := range args[:len(args)-1] {
			w.obs[node] = Observation{NodeID: node, Evidence: evidence, Since: w.now, Boot: w.snap().Node(node).Boot}
		}
		return nil
	}
	var out []string
	obs := make([]Observation, 0, len(w.obs))
	for _, name := range slices.Sorted(maps.Keys(w.obs)) {
		obs = append(obs, w.obs[name])
	}
	cmds, next, wake := NodeLoss(w.snap(), obs, w.guard, w.now, Options{})
	w.guard = next
	for _, cmd := range cmds {
		for _, c := range cmd.(state.SetNodeStatus).Changes {
			out = append(out, strings.TrimSuffix(fmt.Sprintf("%s is %s: %s", c.NodeID, c.Status, c.Description), ": "))
		}
		w.must(cmd)
	}
	for _, p := range w.guard.View().Pools {
		out = append(out, fmt.Sprintf("guard of pool %s: %s, %d of %d silent, %d waiting", p.Pool, p.State, p.Silent, p.Nodes, p.Waiting))
	}
	if wake != 0 {
		out = append(out, fmt.Sprintf("look again in %s", time.Duration(wake-w.now)))
	}
	return out
}

func (s *story) garbage() []string {
	cmds, _ := Garbage(s.w.snap(), s.w.now)
	if len(cmds) == 0 {
		return []string{"nothing to collect"}
	}
	before := s.w.snap()
	r := s.w.must(cmds[0]).(state.CollectGarbageResult)
	var out []string
	for _, id := range cmds[0].(state.CollectGarbage).Allocs {
		a := before.Alloc(id)
		out = append(out, fmt.Sprintf("allocation %s on %s goes", a.Name, a.NodeID))
	}
	slices.Sort(out)
	for _, k := range cmds[0].(state.CollectGarbage).Jobs {
		out = append(out, fmt.Sprintf("job %s goes", k.ID))
	}
	for _, id := range cmds[0].(state.CollectGarbage).Nodes {
		out = append(out, fmt.Sprintf("node %s goes", id))
	}
	return append(out, fmt.Sprintf("collected %d allocations, %d jobs, %d nodes", r.Allocs, r.Jobs, r.Nodes))
}

// split cuts a line into words; double quotes keep spaces.
func split(line string) []string {
	var out []string
	var word strings.Builder
	quoted, any := false, false
	for _, c := range line {
		switch {
		case c == '"':
			quoted, any = !quoted, true
		case c == ' ' && !quoted:
			if any {
				out = append(out, word.String())
			}
			word.Reset()
			any = false
		default:
			word.WriteRune(c)
			any = true
		}
	}
	if any {
		out = append(out, word.String())
	}
	return out
}

func pairs(words []string) map[string]string {
	out := map[string]string{}
	for _, w := range words {
		k, v, _ := strings.Cut(w, "=")
		out[k] = v
	}
	return out
}

func number(t *testing.T, s string) int {
	if s == "" {
		return 0
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// numbers reads "0-3,8".
func numbers(t *testing.T, s string) []int {
	var out []int
	for part := range strings.SplitSeq(s, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		for n := number(t, first); n <= number(t, last); n++ {
			out = append(out, n)
		}
	}
	return out
}

func duration(t *testing.T, s string) time.Duration {
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
