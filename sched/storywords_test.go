package sched

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/drover-io/drover/state"
)

// describeNode reads the words of a node line: cpu=4000 mem=4096 dc=dc2 pool=gpu drivers=fake,exec attr.x=y meta.rack=r1 …
func (s *story) describeNode(n *state.Node, args map[string]string) {
	for k, v := range args {
		key, isAttr := strings.CutPrefix(k, "attr.")
		metaKey, isMeta := strings.CutPrefix(k, "meta.")
		switch {
		case isAttr:
			n.Attributes[key] = v
		case isMeta:
			if n.Meta == nil {
				n.Meta = map[string]string{}
			}
			n.Meta[metaKey] = v
		case k == "cpu":
			n.Resources.CPU = number(s.t, v)
		case k == "mem":
			n.Resources.MemoryMB = number(s.t, v)
		case k == "disk":
			n.Resources.DiskMB = number(s.t, v)
		case k == "dc":
			n.Datacenter = v
		case k == "pool":
			n.NodePool = v
		case k == "class":
			n.NodeClass = v
		case k == "ports":
			if _, err := fmt.Sscanf(v, "%d-%d", &n.Resources.MinDynamicPort, &n.Resources.MaxDynamicPort); err != nil {
				s.t.Fatal(err)
			}
		case k == "mhz":
			n.Resources.MHzPerCore = number(s.t, v)
		case k == "cores":
			n.Resources.Cores = numbers(s.t, v)
		case k == "devices":
			n.Resources.Devices = nil
			for d := range strings.SplitSeq(v, "; ") {
				n.Resources.Devices = append(n.Resources.Devices, s.device(d))
			}
		case k == "reserved":
			n.Resources.ReservedPorts = append(n.Resources.ReservedPorts, number(s.t, v))
		case k == "drivers":
			n.Drivers = map[string]state.DriverInfo{}
			for d := range strings.SplitSeq(v, ",") {
				n.Drivers[d] = state.DriverInfo{Detected: true, Healthy: true}
			}
		case k == "sick":
			n.Drivers[v] = state.DriverInfo{Detected: true}
		default:
			s.t.Fatalf("a node has no %q", k)
		}
	}
}

// job reads a job line and the group lines below it. What a group line does not say, the job line may say for it.
func (s *story) job(args []string, groups [][]string) *state.Job {
	own := [][]string{append([]string{args[0]}, args[1:]...)}
	if len(groups) > 0 {
		own = groups
	}
	return job(args[0], func(j *state.Job) {
		j.TaskGroups = nil
		for _, words := range own {
			g := group(words[0])
			if j.Type = pairs(args[1:])["type"]; j.Type == "" {
				j.Type = state.JobTypeService
			}
			for _, w := range words[1:] {
				k, v, _ := strings.Cut(w, "=")
				if !s.setGroup(&g, k, v) && len(groups) > 0 {
					s.t.Fatalf("a group has no %q", k)
				}
			}
			j.TaskGroups = append(j.TaskGroups, g)
		}
		for _, w := range args[1:] {
			k, v, _ := strings.Cut(w, "=")
			if !s.setJob(j, k, v) && (len(groups) > 0 || !s.setGroup(&state.TaskGroup{Tasks: make([]state.Task, 1)}, k, v)) {
				s.t.Fatalf("a job has no %q", k)
			}
		}
	})
}

func (s *story) setJob(j *state.Job, k, v string) bool {
	switch k {
	case "type":
		j.Type = v
	case "priority":
		j.Priority = number(s.t, v)
	case "dc":
		j.Datacenters = strings.Split(v, ",")
	case "pool":
		j.NodePool = v
	case "all_at_once":
		j.AllAtOnce = v == "true"
	case "job_constraint":
		j.Constraints = append(j.Constraints, constraint(v))
	case "job_affinity":
		j.Affinities = append(j.Affinities, affinityOf(s.t, v))
	case "job_spread":
		j.Spreads = append(j.Spreads, spreadOf(s.t, v))
	default:
		return false
	}
	return true
}

func (s *story) setGroup(g *state.TaskGroup, k, v string) bool {
	task := &g.Tasks[0]
	switch k {
	case "count":
		g.Count = number(s.t, v)
	case "disk":
		g.EphemeralDisk.SizeMB = number(s.t, v)
	case "driver":
		task.Driver = v
	case "image":
		task.Config = map[string]any{"image": v}
	case "max_parallel":
		g.Update.MaxParallel = number(s.t, v)
	case "constraint":
		g.Constraints = append(g.Constraints, constraint(v))
	case "affinity":
		g.Affinities = append(g.Affinities, affinityOf(s.t, v))
	case "spread":
		g.Spreads = append(g.Spreads, spreadOf(s.t, v))
	case "port":
		s.setPort(g, v)
	case "reschedule":
		g.ReschedulePolicy = s.policy(v)
	default:
		return s.setResources(&task.Resources, k, v)
	}
	return true
}

// setResources reads cpu=100 (MHz), cpu=500m (thousandths of a core), cores=2, mem=300, mem_max=600, device="nvidia/gpu 2".
func (s *story) setResources(r *state.Resources, k, v string) bool {
	switch k {
	case "cpu":
		milli, thousandths := strings.CutSuffix(v, "m")
		if r.CPU = number(s.t, milli); thousandths {
			r.CPU, r.MilliCores = 0, number(s.t, milli)
		}
	case "cores":
		r.CPU, r.Cores = 0, number(s.t, v)
	case "mem":
		r.MemoryMB = number(s.t, v)
	case "mem_max":
		r.MemoryMaxMB = number(s.t, v)
	case "device":
		words := strings.Fields(v)
		r.Devices = append(r.Devices, state.RequestedDevice{Name: words[0], Count: 1})
		if len(words) > 1 {
			r.Devices[len(r.Devices)-1].Count = number(s.t, words[1])
		}
	case "device_constraint", "device_affinity": // of the device named before
		if len(r.Devices) == 0 {
			return true
		}
		d := &r.Devices[len(r.Devices)-1]
		if k == "device_constraint" {
			d.Constraints = append(d.Constraints, constraint(v))
		} else {
			d.Affinities = append(d.Affinities, affinityOf(s.t, v))
		}
	default:
		return false
	}
	return true
}

// device reads "nvidia/gpu/a100 g1,g2,!g3 memory=40GiB": instances with a ! before them are not healthy, "shared" is a flag.
func (s *story) device(v string) state.NodeDevice {
	words := strings.Fields(v)
	name := strings.Split(words[0], "/")
	d := state.NodeDevice{Vendor: name[0], Type: name[1], Name: name[2], Attributes: map[string]string{}}
	for id := range strings.SplitSeq(words[1], ",") {
		id, sick := strings.CutPrefix(id, "!")
		d.Instances = append(d.Instances, state.DeviceInstance{ID: id, Healthy: !sick})
	}
	for _, w := range words[2:] {
		if key, value, ok := strings.Cut(w, "="); ok {
			d.Attributes[key] = value
		} else {
			d.Shared = w == "shared"
		}
	}
	return d
}

// affinityOf reads a weight and a condition: "50 ${meta.disk} = ssd".
func affinityOf(t *testing.T, v string) state.Affinity {
	weight, condition, _ := strings.Cut(v, " ")
	c := constraint(condition)
	return state.Affinity{LTarget: c.LTarget, RTarget: c.RTarget, Operand: c.Operand, Weight: number(t, weight)}
}

// spreadOf reads an attribute with its targets: "${node.datacenter} dc1=70 dc2=30", and "weight=20".
func spreadOf(t *testing.T, v string) state.Spread {
	words := strings.Fields(v)
	s := state.Spread{Attribute: words[0], Weight: 50}
	for _, w := range words[1:] {
		value, n, _ := strings.Cut(w, "=")
		if value == "weight" {
			s.Weight = number(t, n)
			continue
		}
		s.SpreadTarget = append(s.SpreadTarget, state.SpreadTarget{Value: value, Percent: number(t, n)})
	}
	return s
}

// setPort reads "http" (dynamic) or "http:8080" (static).
func (s *story) setPort(g *state.TaskGroup, v string) {
	if len(g.Networks) == 0 {
		g.Networks = []state.Network{{Mode: "host"}}
	}
	n := &g.Networks[0]
	if label, value, static := strings.Cut(v, ":"); static {
		n.ReservedPorts = append(n.ReservedPorts, state.Port{Label: label, Value: number(s.t, value)})
		return
	}
	n.DynamicPorts = append(n.DynamicPorts, state.Port{Label: v})
}

// policy reads "unlimited delay=5s function=constant" or "attempts=1 interval=1h delay=5s function=fibonacci max=1m".
func (s *story) policy(v string) state.ReschedulePolicy {
	p := state.ReschedulePolicy{DelayFunction: state.DelayConstant}
	for k, v := range pairs(strings.Fields(v)) {
		switch k {
		case "attempts":
			p.Attempts = number(s.t, v)
		case "interval":
			p.Interval = duration(s.t, v)
		case "delay":
			p.Delay = duration(s.t, v)
		case "max":
			p.MaxDelay = duration(s.t, v)
		case "function":
			p.DelayFunction = v
		case "unlimited":
			p.Unlimited = true
		default:
			s.t.Fatalf("a reschedule policy has no %q", k)
		}
	}
	return p
}

// constraint reads "${attr.x} = y", "distinct_hosts", "distinct_property ${meta.rack} 2", "${meta.x} is_set".
func constraint(v string) state.Constraint {
	words := strings.Fields(v)
	switch {
	case words[0] == state.OperandDistinctHosts:
		return state.Constraint{Operand: words[0], RTarget: "true"}
	case words[0] == state.OperandDistinctProperty:
		c := state.Constraint{Operand: words[0], LTarget: words[1]}
		if len(words) > 2 {
			c.RTarget = words[2]
		}
		return c
	case len(words) == 2:
		return state.Constraint{LTarget: words[0], Operand: words[1]}
	}
	return state.Constraint{LTarget: words[0], Operand: words[1], RTarget: strings.Join(words[2:], " ")}
}

func explanation(e *state.Explanation) []string {
	if e == nil {
		return []string{"no such job"}
	}
	var out []string
	for _, g := range e.Groups {
		out = append(out, fmt.Sprintf("group %s: wanted %d, placed %d, unplaced %d; %d of %d nodes could take one more",
			g.TaskGroup, g.Wanted, g.Placed, g.Unplaced, g.NodesFeasible, g.NodesEvaluated))
		for _, r := range g.Reasons {
			out = append(out, fmt.Sprintf("  %d nodes: %s: %s", r.Nodes, r.Filter, r.Detail))
		}
		if g.NearestMiss != nil {
			out = append(out, fmt.Sprintf("  nearest is %s: %s", g.NearestMiss.NodeName, strings.Join(g.NearestMiss.Failed, "; ")))
		}
		for _, c := range g.Suggestions {
			out = append(out, fmt.Sprintf("  %s: %d nodes would fit", c.Change, c.Nodes))
		}
		for _, w := range g.Wishes {
			out = append(out, "  "+wish(w))
		}
	}
	return out
}

func wish(w state.Wish) string {
	if w.Kind == state.WishAffinity {
		return fmt.Sprintf("affinity %s (%d): %d copies on the %d nodes that fulfil it", w.Text, w.Weight, w.Copies, w.Nodes)
	}
	line := fmt.Sprintf("spread over %s (%d):", w.Text, w.Weight)
	for _, v := range w.Values {
		line += fmt.Sprintf(" %q has %d of %v on %d nodes;", v.Value, v.Copies, v.Wanted, v.Nodes)
	}
	return strings.TrimSuffix(line, ";")
}

func allocExplanation(e *state.AllocExplanation) []string {
	out := []string{fmt.Sprintf("%s by %s, %d of %d nodes could have it", e.Name, e.Algorithm, e.NodesFeasible, e.NodesEvaluated)}
	for _, n := range append([]state.NodeScore{e.Chosen}, e.RunnersUp...) {
		line := fmt.Sprintf("  %d. %s scores %v", n.Rank, n.NodeName, n.Score)
		if n.Rank == 0 {
			line = fmt.Sprintf("  %s does not fit: %s", n.NodeName, strings.Join(n.Failed, "; "))
		}
		out = append(out, line)
		for _, s := range n.Scores {
			out = append(out, fmt.Sprintf("       %s %v: %s", s.Name, s.Score, s.Detail))
		}
	}
	for _, r := range e.Reasons {
		out = append(out, fmt.Sprintf("  %d nodes: %s: %s", r.Nodes, r.Filter, r.Detail))
	}
	for _, n := range e.Notes {
		out = append(out, "  note: "+n)
	}
	return out
}

func nodeExplanation(e *state.NodeExplanation) []string {
	if e == nil {
		return []string{"no such node"}
	}
	out := []string{fmt.Sprintf("node %s is %s and %s", e.NodeName, e.Status, e.SchedulingEligibility), "  has  " + roomText(e.Total), "  free " + roomText(e.Free)}
	for _, p := range e.Problems {
		out = append(out, "  problem: "+p)
	}
	for _, f := range slices.Concat(e.Blocked, e.Groups) {
		line := fmt.Sprintf("  %s.%s: %d here, %d more fit", f.JobID, f.TaskGroup, f.Here, f.More)
		if f.Unplaced > 0 {
			line += fmt.Sprintf(", %d are blocked", f.Unplaced)
		}
		if len(f.Failed) > 0 {
			line += ": " + strings.Join(f.Failed, "; ")
		} else if f.LimitedBy != "" {
			line += ", then " + f.LimitedBy + " ends"
		}
		out = append(out, line)
	}
	if e.LeftOut > 0 {
		out = append(out, fmt.Sprintf("  %d groups were not looked at", e.LeftOut))
	}
	return out
}

func roomText(r state.NodeRoom) string {
	out := fmt.Sprintf("%d MHz, %d MiB, %d MiB disk, %d cores, %d ports", r.CPU, r.MemoryMB, r.DiskMB, r.Cores, r.DynamicPorts)
	for _, d := range r.Devices {
		out += fmt.Sprintf(", %d %s", d.Instances, d.ID)
		if d.Shared {
			out += " shared"
		}
	}
	return out
}

func planView(v *state.PlanView) []string {
	var out []string
	for _, d := range v.Diff {
		out = append(out, fmt.Sprintf("change %s: %q to %q", d.Path, d.Old, d.New))
	}
	for _, g := range v.Groups {
		out = append(out, fmt.Sprintf("group %s: place %d, stop %d, replace %d, ignore %d, unplaced %d",
			g.TaskGroup, g.Place, g.Stop, g.Replace, g.Ignore, g.Unplaced))
	}
	for _, c := range v.Placements {
		out = append(out, fmt.Sprintf("would place %s on %s: %s", c.Name, c.NodeName, c.Reason))
	}
	for _, c := range v.Stops {
		out = append(out, fmt.Sprintf("would stop %s on %s: %s", c.Name, c.NodeName, c.Reason))
	}
	if v.Explanation != nil {
		out = append(out, explanation(v.Explanation)...)
	}
	return slices.DeleteFunc(out, func(l string) bool { return strings.HasPrefix(l, "change") && len(v.Diff) > 10 })
}
