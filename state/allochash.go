package state

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// hash hashes every field of the row, XXH64 over their values one behind the other. It serves to find servers that diverged. A row
// of the one table that is large is not written as JSON for it: that took most of the time of applying an entry.
func (a *Alloc) hash() uint64 {
	var stack [1024]byte
	h := hashed(stack[:0])
	h.text(a.ID)
	h.group(a.AllocGroup)
	h.text(a.NodeID, a.NodeName)
	h.number(int64(a.Index))
	h.text(a.Name)
	h.number(int64(len(a.Ports)))
	for i := range a.Ports {
		p := &a.Ports[i]
		h.text(p.Label, p.HostIP, p.AllocIP)
		h.number(int64(p.HostPort), int64(p.To))
	}
	h.text(a.DesiredStatus, a.DesiredDescription)
	h.flag(a.Migrate)
	h.text(a.ClientStatus, a.ClientDescription)
	h.flag(a.TaskStates.IsZero())
	if s := a.TaskStates.shape; s != nil {
		h.number(int64(s.hash))
		h.number(a.TaskStates.times...)
	}
	h.number(int64(a.ReportBoot), int64(a.ReportSeq), a.ClientModifyTime)
	h.text(a.PreviousAllocation, a.NextAllocation)
	h.number(int64(len(a.RescheduleEvents)))
	for i := range a.RescheduleEvents {
		e := &a.RescheduleEvents[i]
		h.text(e.PrevAllocID, e.PrevNodeID)
		h.number(e.Time, e.Delay)
	}
	h.number(a.CreateTime, int64(a.CreateIndex), int64(a.ModifyIndex))
	return xxhash.Sum64(h)
}

// hashed is what is to be hashed.
type hashed []byte

func (h *hashed) group(g *AllocGroup) {
	h.text(g.Namespace, g.JobID, g.JobType, g.TaskGroup)
	r := &g.Resources
	h.number(int64(g.JobVersion), int64(g.Priority), int64(r.CPU), int64(r.MemoryMB), int64(r.MemoryMaxMB), int64(r.DiskMB))
	h.number(int64(len(r.Cores)), int64(len(r.Devices)))
	for _, core := range r.Cores {
		h.number(int64(core))
	}
	for i := range r.Devices {
		d := &r.Devices[i]
		h.text(d.Vendor, d.Type, d.Name)
		h.number(int64(len(d.IDs)))
		h.text(d.IDs...)
	}
}

// text adds texts, each behind its length, so that none runs into the next.
func (h *hashed) text(texts ...string) {
	for _, s := range texts {
		*h = append(binary.LittleEndian.AppendUint32(*h, uint32(len(s))), s...)
	}
}

func (h *hashed) number(numbers ...int64) {
	for _, n := range numbers {
		*h = binary.LittleEndian.AppendUint64(*h, uint64(n))
	}
}

func (h *hashed) flag(b bool) {
	if b {
		h.number(1)
	} else {
		h.number(0)
	}
}
