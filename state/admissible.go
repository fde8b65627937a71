package state

import (
	"fmt"
	"math"
)

// What this file refuses, every server refuses when it applies the entry: it is part of the state machine, and changing it is a
// new level. It guards only what apply itself relies on: keys, sums that must not overflow, lists that it walks. Validate says
// all the rest, more kindly, and may learn new rules with any version, because it runs once, in Encode, before the entry exists.

// validated commands carry a row that Encode validates.
type validated interface{ validate() error }

func (c RegisterJob) validate() error {
	if c.Job == nil {
		return fmt.Errorf("register a job: there is none: %w", ErrInvalid)
	}
	if err := c.Job.Validate(); err != nil {
		return fmt.Errorf("register job %q: %w: %w", truncate(c.Job.ID, maxNameBytes), err, ErrInvalid)
	}
	return nil
}

func (c RegisterNode) validate() error {
	if c.Node == nil {
		return fmt.Errorf("register a node: there is none: %w", ErrInvalid)
	}
	if err := c.Node.Validate(); err != nil {
		return fmt.Errorf("register node %q: %w: %w", truncate(c.Node.ID, maxNameBytes), err, ErrInvalid)
	}
	return nil
}

func (c UpsertNodePool) validate() error {
	if c.Pool == nil {
		return fmt.Errorf("write a node pool: there is none: %w", ErrInvalid)
	}
	if err := c.Pool.Validate(); err != nil {
		return fmt.Errorf("write node pool %q: %w: %w", truncate(c.Pool.Name, maxNameBytes), err, ErrInvalid)
	}
	return nil
}

// inRange is the frozen check of one number.
type inRange struct {
	field        string
	n, low, high int
}

func checkRanges(ranges ...inRange) error {
	for _, r := range ranges {
		if r.n < r.low || r.n > r.high {
			return fmt.Errorf("%s: %d is not between %d and %d", r.field, r.n, r.low, r.high)
		}
	}
	return nil
}

// admissible reports why the state machine cannot store the job.
func (j *Job) admissible() error {
	for _, name := range []string{j.Namespace, j.ID} {
		if err := checkName(name); err != nil {
			return fmt.Errorf("name %q: %w", truncate(name, maxNameBytes), err)
		}
	}
	if j.Type != JobTypeService && j.Type != JobTypeBatch {
		return fmt.Errorf("type %q is not known", truncate(j.Type, maxNameBytes))
	}
	if err := checkRanges(inRange{"groups", len(j.TaskGroups), 1, maxGroups}); err != nil {
		return err
	}
	seen := map[string]bool{}
	for i := range j.TaskGroups {
		g := &j.TaskGroups[i]
		if err := g.admissible(); err != nil {
			return fmt.Errorf("group %q: %w", truncate(g.Name, maxNameBytes), err)
		}
		if seen[g.Name] {
			return fmt.Errorf("group %q is there twice", g.Name)
		}
		seen[g.Name] = true
	}
	return nil
}

func (g *TaskGroup) admissible() error {
	if err := checkName(g.Name); err != nil {
		return err
	}
	err := checkRanges(
		inRange{"count", g.Count, 0, maxCount},
		inRange{"tasks", len(g.Tasks), 1, maxTasks},
		inRange{"disk", g.EphemeralDisk.SizeMB, 0, maxAmount},
		inRange{"networks", len(g.Networks), 0, 1},
		inRange{"ports", len(staticPorts(g)) + len(dynamicPorts(g)), 0, maxPorts},
	)
	for i := 0; i < len(g.Tasks) && err == nil; i++ {
		t := &g.Tasks[i]
		if err = checkName(t.Name); err == nil {
			err = checkRanges(
				inRange{"cpu", t.Resources.CPU, 0, maxAmount / maxTasks},
				inRange{"memory", t.Resources.MemoryMB, 0, maxAmount / maxTasks},
				inRange{"memory_max", t.Resources.MemoryMaxMB, 0, maxAmount / maxTasks},
				inRange{"thousandths of a core", t.Resources.MilliCores, 0, maxMilliCores},
				inRange{"cores", t.Resources.Cores, 0, maxCores},
				inRange{"devices", len(t.Resources.Devices), 0, maxAsked},
			)
		}
		for k := 0; k < len(t.Resources.Devices) && err == nil; k++ {
			err = checkRanges(inRange{"device count", t.Resources.Devices[k].Count, 1, maxInstances})
		}
	}
	ports := staticPorts(g)
	for i := 0; i < len(ports) && err == nil; i++ {
		err = checkRanges(inRange{"static port", ports[i].Value, 1, 65535})
	}
	return err
}

// admissible reports why the state machine cannot store the node.
func (n *Node) admissible() error {
	if err := checkName(n.ID); err != nil {
		return err
	}
	if n.Boot > math.MaxInt64 {
		return fmt.Errorf("boot %d is out of range", n.Boot)
	}
	r := n.Resources
	return checkRanges(
		inRange{"cpu", r.CPU, 0, maxAmount}, inRange{"memory", r.MemoryMB, 0, maxAmount}, inRange{"disk", r.DiskMB, 0, maxAmount},
		inRange{"first dynamic port", r.MinDynamicPort, 0, 65535}, inRange{"last dynamic port", r.MaxDynamicPort, 0, 65535},
		inRange{"MHz per core", r.MHzPerCore, 0, maxMHzPerCore}, inRange{"cores", len(r.Cores), 0, maxCores},
		inRange{"devices", len(r.Devices), 0, maxDevices},
	)
}
