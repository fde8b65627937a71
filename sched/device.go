package sched

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/drover-io/drover/state"
)

// maxDeviceTries bounds the search for devices on one node. Several requests of one group that could share a kind of device are
// rare, and a search that is given up says no: nothing is over-committed.
const maxDeviceTries = 256

// deviceAsk is a request for devices, ready to be held against those of many nodes.
type deviceAsk struct {
	state.RequestedDevice
	checks []*check
	likes  *affinities
	named  map[string]bool // the only instances that will do; nil for any
}

func newDeviceAsks(g *state.TaskGroup) []deviceAsk {
	var out []deviceAsk
	for _, r := range g.DeviceRequests() {
		d := deviceAsk{RequestedDevice: r, likes: newAffinities(r.Affinities)}
		for _, c := range r.Constraints {
			d.checks = append(d.checks, compile(c))
			d.name(c)
		}
		out = append(out, d)
	}
	return out
}

// name notes the instances that a constraint over ${device.ids} names: they are meant, and not merely a machine that has them.
func (d *deviceAsk) name(c state.Constraint) {
	if strings.ReplaceAll(c.LTarget, " ", "") != "${device.ids}" {
		return
	}
	switch operand(c.Operand) {
	case state.OperandEqual, state.OperandSetContains, state.OperandSetContainsAny:
		d.named = elements(c.RTarget)
	}
}

// look finds what a kind of device has under a name such as device.attr.memory.
func deviceLook(d *state.NodeDevice) lookup {
	return func(name string) (string, bool) {
		if key, ok := strings.CutPrefix(name, "device.attr."); ok {
			v, has := d.Attributes[key]
			return v, has
		}
		switch name {
		case "device.vendor":
			return d.Vendor, true
		case "device.type":
			return d.Type, true
		case "device.model", "device.name":
			return d.Name, true
		case "device.ids":
			ids := make([]string, 0, len(d.Instances))
			for _, i := range d.Instances {
				ids = append(ids, i.ID)
			}
			return strings.Join(ids, ","), true
		}
		return "", false
	}
}

// suits reports whether a kind of device is one that the request means, however many of it are free.
func (d *deviceAsk) suits(kind *state.NodeDevice) bool {
	return d.Matches(kind) && d.failed(kind) == nil
}

// failed is the first constraint that a kind of device does not pass, or nil.
func (d *deviceAsk) failed(kind *state.NodeDevice) *check {
	look := deviceLook(kind)
	for _, c := range d.checks {
		if !c.passes(look) {
			return c
		}
	}
	return nil
}

// free are the instances of a kind that the request may have.
func (d *deviceAsk) free(kind *state.NodeDevice, taken *stock) []string {
	out := taken.freeInstances(kind)
	if d.named != nil {
		out = slices.DeleteFunc(out, func(id string) bool { return !d.named[id] })
	}
	return out
}

// deviceSearch looks for a kind of device for each request, such that no instance is given twice.
type deviceSearch struct {
	asks  []deviceAsk
	of    *state.NodeResources
	tries int
	kinds [][]*state.NodeDevice // for each request those that suit it, the most liked first
	ids   [][]string
	liked float64
}

// findDevices chooses the devices of one copy in the order of the plan's column, and says how much the job likes them, from -1 to
// 1. It reports false when there are not enough.
func findDevices(asks []deviceAsk, of *state.NodeResources, taken *stock) (ids []string, liked float64, ok bool) {
	s := &deviceSearch{asks: asks, of: of, ids: make([][]string, len(asks))}
	for i := range asks {
		kinds := asks[i].candidates(of)
		if len(kinds) == 0 {
			return nil, 0, false
		}
		s.kinds = append(s.kinds, kinds)
	}
	if !s.assign(0, taken) {
		return nil, 0, false
	}
	return slices.Concat(s.ids...), s.liked / float64(max(1, likedBy(asks))), true
}

// candidates are the kinds of a node's devices that suit, the most liked first.
func (d *deviceAsk) candidates(of *state.NodeResources) []*state.NodeDevice {
	var out []*state.NodeDevice
	for i := range of.Devices {
		if d.suits(&of.Devices[i]) {
			out = append(out, &of.Devices[i])
		}
	}
	if d.likes != nil {
		slices.SortStableFunc(out, func(a, b *state.NodeDevice) int {
			return cmp.Compare(d.likes.score(deviceLook(b)), d.likes.score(deviceLook(a)))
		})
	}
	return out
}

// likedBy counts the requests that have affinities.
func likedBy(asks []deviceAsk) int {
	n := 0
	for i := range asks {
		if asks[i].likes != nil {
			n++
		}
	}
	return n
}

func (s *deviceSearch) assign(i int, taken *stock) bool {
	if i == len(s.asks) {
		return true
	}
	d := &s.asks[i]
	for _, kind := range s.kinds[i] {
		if s.tries++; s.tries > maxDeviceTries {
			return false
		}
		free := d.free(kind, taken)
		if len(free) < d.Count {
			continue
		}
		s.ids[i] = free[:d.Count:d.Count]
		if s.assign(i+1, taken.with(s.of, pieces{devices: s.ids[i]})) {
			if d.likes != nil {
				s.liked += d.likes.score(deviceLook(kind))
			}
			return true
		}
	}
	return false
}

// trouble says why a node cannot give the devices of a request, "" when it can, as far as this request alone goes.
func (d *deviceAsk) trouble(of *state.NodeResources, taken *stock) string {
	var failed *check
	matched, suited, most := false, false, 0
	for i := range of.Devices {
		kind := &of.Devices[i]
		if !d.Matches(kind) {
			continue
		}
		matched = true
		if c := d.failed(kind); c != nil {
			failed = c
			continue
		}
		suited = true
		most = max(most, len(d.free(kind, taken)))
	}
	switch {
	case !matched:
		return fmt.Sprintf("%s is not on the node", d.Name)
	case !suited:
		return fmt.Sprintf("constraint %q is false of every %s", failed, d.Name)
	case most < d.Count:
		return fmt.Sprintf("asks %d of %s, more than is free of one kind", d.Count, d.Name)
	}
	return ""
}
