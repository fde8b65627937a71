package state

import (
	"fmt"
	"slices"
)

// granted is what a plan gives one copy by name.
type granted struct {
	ports   []int
	cores   []int
	devices []string
}

// columns says how much of each column one copy of a record takes.
type columns struct{ ports, cores, devices int }

func columnsOf(g *TaskGroup) columns {
	return columns{ports: len(dynamicPorts(g)), cores: g.CoreCount(), devices: g.DeviceCount()}
}

// check compares the lengths of a record's columns with what its group asks for.
func (w columns) check(rec *PlanRecord, placed int) string {
	switch {
	case len(rec.Ports) != placed*w.ports:
		return "dynamic ports do not match the group"
	case len(rec.Cores) != placed*w.cores:
		return "cores do not match the group"
	case len(rec.Devices) != placed*w.devices:
		return "devices do not match the group"
	}
	return ""
}

// next returns what the next placed copy of a record is given.
func (r *referee) next(rec *PlanRecord) granted {
	w, n := columnsOf(r.group), r.judged
	r.judged++
	return granted{
		ports:   rec.Ports[n*w.ports : (n+1)*w.ports],
		cores:   rec.Cores[n*w.cores : (n+1)*w.cores],
		devices: rec.Devices[n*w.devices : (n+1)*w.devices],
	}
}

// askOf is what a copy of the group being judged will hold on a node.
func (r *referee) askOf(n *Node, g granted) (ask AllocResources, reason string) {
	if n.Resources.MHzPerCore <= 0 && r.group.CountsCores() {
		return ask, "cpu: asks for cores, the node does not say how fast its cores are"
	}
	ask = r.group.ResourcesOn(&n.Resources)
	if !r.tx.next.MemoryOversubscription(PoolOf(r.job.NodePool)) {
		ask.MemoryMaxMB = 0
	}
	if len(g.cores) > 0 {
		ask.Cores = slices.Clone(g.cores)
	}
	from := 0
	for _, rq := range r.group.DeviceRequests() {
		ids := g.devices[from : from+rq.Count]
		from += rq.Count
		d, reason := chosen(&n.Resources, rq, ids)
		if reason != "" {
			return ask, reason
		}
		ask.Devices = append(ask.Devices, AllocDevice{Vendor: d.Vendor, Type: d.Type, Name: d.Name, IDs: slices.Clone(ids)})
	}
	return ask, ""
}

// chosen is the node's device that the instances given for a request are of.
func chosen(has *NodeResources, rq RequestedDevice, ids []string) (*NodeDevice, string) {
	var kind *NodeDevice
	for _, id := range ids {
		d, instance := has.Device(id)
		switch {
		case d == nil:
			return nil, fmt.Sprintf("device %q is not on the node", truncate(id, maxNameBytes))
		case !instance.Healthy:
			return nil, fmt.Sprintf("device %q is not healthy", id)
		case !rq.Matches(d):
			return nil, fmt.Sprintf("device %q is a %s, not a %s", id, d.ID(), rq.Name)
		case kind != nil && kind != d:
			return nil, fmt.Sprintf("device %q is a %s, the copy has a %s for the same request", id, d.ID(), kind.ID())
		}
		kind = d
	}
	if kind == nil {
		return nil, fmt.Sprintf("device %q is asked for without a count", rq.Name)
	}
	return kind, ""
}

// checkReserved asks whether the cores and devices of a copy are the node's and free.
func (r *referee) checkReserved(n *Node, ask *AllocResources) string {
	if len(ask.Cores)+len(ask.Devices) == 0 {
		return ""
	}
	has, taken := &n.Resources, r.reservedOn(n.ID)
	for i, core := range ask.Cores {
		if _, ok := slices.BinarySearch(has.Cores, core); !ok {
			return fmt.Sprintf("core %d is not one that the node lets reserve", core)
		}
		if holder, taken := taken.cores[core]; taken {
			return fmt.Sprintf("core %d is held by %s", core, holder)
		}
		if slices.Contains(ask.Cores[:i], core) {
			return fmt.Sprintf("core %d is given twice", core)
		}
	}
	seen := map[string]bool{}
	for _, d := range ask.Devices {
		for _, id := range d.IDs {
			if kind, _ := has.Device(id); kind.Shared {
				continue
			}
			if holder, taken := taken.devices[id]; taken {
				return fmt.Sprintf("device %q is held by %s", id, holder)
			}
			if seen[id] {
				return fmt.Sprintf("device %q is given twice", id)
			}
			seen[id] = true
		}
	}
	return ""
}

// reserved is the cores and devices of a node that are held.
type reserved struct {
	cores   map[int]string    // → who holds it
	devices map[string]string // instance → who holds it, or one of those who do
}

func (r *referee) reservedOn(nodeID string) reserved {
	out := reserved{cores: map[int]string{}, devices: map[string]string{}}
	if r.tx.next.HeldOn(nodeID).Named == 0 {
		return out
	}
	for a := range r.tx.next.AllocsByNode(nodeID) {
		if !r.tx.next.Holds(a) {
			continue
		}
		for _, core := range a.Resources.Cores {
			out.cores[core] = a.ID
		}
		for _, d := range a.Resources.Devices {
			for _, id := range d.IDs {
				out.devices[id] = a.ID
			}
		}
	}
	return out
}
