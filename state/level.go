package state

import "slices"

// MaxLevel is the highest cluster level that this version can apply. A new field or a new kind of command is a new level.
//
// Level 1 is the first release. Level 2 adds affinities, spreads, reserved cores, thousandths of a core, memory_max and devices to
// jobs, nodes, plans and allocations; the scheduler's configuration and node pools; the cluster's epoch and machines that change
// their address; what tasks wrote last before they failed; reports, and the nodes of plans, in columns;
// packed registrations, and those of several jobs in one entry; and holds a leader's command against the term of its own entry.
const MaxLevel = 2

// leveled commands say for themselves which level they need: those whose kind or some of whose fields came after level 1.
type leveled interface{ level() int }

// levelOf is the level that a command needs. A field added at level 2 makes the commands that set it, and only those, level 2.
func levelOf(cmd Command) int {
	if l, ok := cmd.(leveled); ok {
		return l.level()
	}
	return 1
}

// levelIf is 2 when a command sets something that came with level 2.
func levelIf(two bool) int {
	if two {
		return 2
	}
	return 1
}

func (SetSchedulerConfig) level() int { return 2 }
func (UpsertNodePool) level() int     { return 2 }
func (DeleteNodePool) level() int     { return 2 }

func (c RegisterJob) level() int { return levelIf(c.Job != nil && c.Job.needsLevel2()) }
func (c InitCluster) level() int { return levelIf(c.Epoch != "") }

func (c RegisterNode) level() int {
	return levelIf(c.Moved || c.Node != nil && c.Node.Resources.needsLevel2())
}

func (c ApplyPlan) level() int {
	return levelIf(c.Columns != nil || slices.ContainsFunc(c.Records, func(r PlanRecord) bool { return len(r.Cores)+len(r.Devices) > 0 }))
}

func (j *Job) needsLevel2() bool {
	if len(j.Affinities)+len(j.Spreads) > 0 {
		return true
	}
	for i := range j.TaskGroups {
		g := &j.TaskGroups[i]
		if len(g.Affinities)+len(g.Spreads) > 0 || slices.ContainsFunc(g.Tasks, taskNeedsLevel2) {
			return true
		}
	}
	return false
}

func taskNeedsLevel2(t Task) bool {
	r := &t.Resources
	return len(t.Affinities)+len(r.Devices)+r.MilliCores+r.Cores+r.MemoryMaxMB > 0
}

func (r *NodeResources) needsLevel2() bool { return len(r.Cores)+len(r.Devices)+r.MHzPerCore > 0 }

// AtLevel is the node without what a cluster of a level cannot store yet. A leader registers a newer agent's node so until the
// cluster's level is raised; the agent then registers again.
func (n *Node) AtLevel(level int) *Node {
	if level >= 2 || !n.Resources.needsLevel2() {
		return n
	}
	old := *n
	old.Resources.Cores, old.Resources.MHzPerCore, old.Resources.Devices = nil, 0, nil
	return &old
}
