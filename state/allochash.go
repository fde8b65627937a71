package state

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// hash hashes every field of the row, XXH64 over their values one behind the other. It serves to find servers that diverged. A row
// of the one table that is large is not written as JSON for it: that took most of the time of applying an entry.
func (a *Alloc) hash() uint64 {
	var stack [1024]byte // not on the heap: what is appended to is handed from call to call
	b := hashText(stack[:0], a.ID)
	b = hashGroup(b, a.AllocGroup)
	b = hashText(b, a.NodeID, a.NodeName)
	b = hashNumber(b, int64(a.Index))
	b = hashText(b, a.Name)
	b = hashNumber(b, int64(len(a.Ports)))
	for i := range a.Ports {
		p := &a.Ports[i]
		b = hashText(b, p.Label, p.HostIP, p.AllocIP)
		b = hashNumber(b, int64(p.HostPort), int64(p.To))
	}
	b = hashText(b, a.DesiredStatus, a.DesiredDescription)
	b = hashFlag(b, a.Migrate)
	b = hashText(b, a.ClientStatus, a.ClientDescription)
	b = hashFlag(b, a.TaskStates.IsZero())
	if s := a.TaskStates.shape; s != nil {
		b = hashNumber(b, int64(s.hash))
		b = hashNumber(b, a.TaskStates.times...)
	}
	b = hashNumber(b, int64(a.ReportBoot), int64(a.ReportSeq), a.ClientModifyTime)
	b = hashText(b, a.PreviousAllocation, a.NextAllocation)
	b = hashNumber(b, int64(len(a.RescheduleEvents)))
	for i := range a.RescheduleEvents {
		e := &a.RescheduleEvents[i]
		b = hashText(b, e.PrevAllocID, e.PrevNodeID)
		b = hashNumber(b, e.Time, e.Delay)
	}
	b = hashNumber(b, a.CreateTime, int64(a.CreateIndex), int64(a.ModifyIndex))
	return xxhash.Sum64(b)
}

func hashGroup(b []byte, g *AllocGroup) []byte {
	b = hashText(b, g.Namespace, g.JobID, g.JobType, g.TaskGroup)
	r := &g.Resources
	b = hashNumber(b, int64(g.JobVersion), int64(g.Priority), int64(r.CPU), int64(r.MemoryMB), int64(r.MemoryMaxMB), int64(r.DiskMB))
	b = hashNumber(b, int64(len(r.Cores)), int64(len(r.Devices)))
	for _, core := range r.Cores {
		b = hashNumber(b, int64(core))
	}
	for i := range r.Devices {
		d := &r.Devices[i]
		b = hashText(b, d.Vendor, d.Type, d.Name)
		b = hashNumber(b, int64(len(d.IDs)))
		b = hashText(b, d.IDs...)
	}
	return b
}

// hashText adds texts, each behind its length, so that none runs into the next.
func hashText(b []byte, texts ...string) []byte {
	for _, s := range texts {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
	}
	return b
}

func hashNumber(b []byte, numbers ...int64) []byte {
	for _, n := range numbers {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	return b
}

func hashFlag(b []byte, set bool) []byte {
	if set {
		return hashNumber(b, 1)
	}
	return hashNumber(b, 0)
}
