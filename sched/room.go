package sched

import (
	"slices"

	"github.com/drover-io/drover/state"
)

// room is an amount of what a node has much of. What it has piece by piece, reserved cores and devices, is in a stock.
type room struct {
	CPU      int // MHz
	MemoryMB int
	DiskMB   int
}

// roomOf is all that a node has.
func roomOf(r *state.NodeResources) room {
	return room{CPU: r.CPU, MemoryMB: r.MemoryMB, DiskMB: r.DiskMB}
}

// heldBy is what an allocation holds. What its memory may grow to is not held: that is what oversubscription means.
func heldBy(r *state.AllocResources) room {
	return room{CPU: r.CPU, MemoryMB: r.MemoryMB, DiskMB: r.DiskMB}
}

func minus(a, b room) room {
	return room{CPU: a.CPU - b.CPU, MemoryMB: a.MemoryMB - b.MemoryMB, DiskMB: a.DiskMB - b.DiskMB}
}

func plus(a, b room) room {
	return room{CPU: a.CPU + b.CPU, MemoryMB: a.MemoryMB + b.MemoryMB, DiskMB: a.DiskMB + b.DiskMB}
}

// within reports whether a fits in b.
func within(a, b room) bool {
	return a.CPU <= b.CPU && a.MemoryMB <= b.MemoryMB && a.DiskMB <= b.DiskMB
}

// stock is what is taken of a node's reservable cores and devices. The zero value is nothing; a stock that has been handed out is
// never changed. Few nodes have any, so that a nil one costs nothing.
type stock struct {
	cores   []int    // ascending
	devices []string // instances that cannot be shared, ascending
}

// pieces are the cores and devices of one copy, in the order of a plan's columns.
type pieces struct {
	cores   []int
	devices []string
}

func (p pieces) none() bool { return len(p.cores)+len(p.devices) == 0 }

// piecesOf are those that an allocation holds.
func piecesOf(r *state.AllocResources) pieces {
	p := pieces{cores: r.Cores}
	for _, d := range r.Devices {
		p.devices = append(p.devices, d.IDs...)
	}
	return p
}

// with returns the stock with more taken. Shared devices are never taken.
func (s *stock) with(of *state.NodeResources, p pieces) *stock {
	p.devices = slices.DeleteFunc(slices.Clone(p.devices), func(id string) bool {
		d, _ := of.Device(id)
		return d != nil && d.Shared
	})
	if p.none() {
		return s
	}
	next := &stock{cores: slices.Clone(p.cores), devices: p.devices}
	if s != nil {
		next.cores, next.devices = append(next.cores, s.cores...), append(next.devices, s.devices...)
	}
	slices.Sort(next.cores)
	slices.Sort(next.devices)
	next.cores, next.devices = slices.Compact(next.cores), slices.Compact(next.devices)
	return next
}

// without returns the stock with some given back.
func (s *stock) without(p pieces) *stock {
	if s == nil || p.none() {
		return s
	}
	next := &stock{
		cores:   slices.DeleteFunc(slices.Clone(s.cores), func(c int) bool { return slices.Contains(p.cores, c) }),
		devices: slices.DeleteFunc(slices.Clone(s.devices), func(id string) bool { return slices.Contains(p.devices, id) }),
	}
	if len(next.cores)+len(next.devices) == 0 {
		return nil
	}
	return next
}

// covers reports whether everything taken in t is taken in s too.
func (s *stock) covers(t *stock) bool {
	if t == nil || s == t {
		return true
	}
	for _, c := range t.cores {
		if !s.hasCore(c) {
			return false
		}
	}
	for _, id := range t.devices {
		if !s.hasDevice(id) {
			return false
		}
	}
	return true
}

func (s *stock) hasCore(c int) bool {
	if s == nil {
		return false
	}
	_, taken := slices.BinarySearch(s.cores, c)
	return taken
}

func (s *stock) hasDevice(id string) bool {
	if s == nil {
		return false
	}
	_, taken := slices.BinarySearch(s.devices, id)
	return taken
}

// freeCores are the reservable cores of a node that nobody has, ascending.
func (s *stock) freeCores(of *state.NodeResources) []int {
	if s == nil || len(s.cores) == 0 {
		return of.Cores
	}
	var out []int
	for _, c := range of.Cores {
		if !s.hasCore(c) {
			out = append(out, c)
		}
	}
	return out
}

// freeInstances are the healthy instances of a kind of device that a copy may have, in the order of the fingerprint.
func (s *stock) freeInstances(d *state.NodeDevice) []string {
	var out []string
	for _, i := range d.Instances {
		if i.Healthy && (d.Shared || !s.hasDevice(i.ID)) {
			out = append(out, i.ID)
		}
	}
	return out
}

// lostPieces reports whether an allocation holds a core or a device that its node does not have any more.
func lostPieces(of *state.NodeResources, r *state.AllocResources) bool {
	for _, c := range r.Cores {
		if _, has := slices.BinarySearch(of.Cores, c); !has {
			return true
		}
	}
	for _, d := range r.Devices {
		for _, id := range d.IDs {
			if has, _ := of.Device(id); has == nil {
				return true
			}
		}
	}
	return false
}
