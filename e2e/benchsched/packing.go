package main

import (
	"math"

	"github.com/drover-io/drover/state"
)

// machine is a node for the exhaustive search.
type machine struct {
	size           state.NodeResources
	cpu, memory    int // in use
	disk           int
	eligible, used bool
}

// machinesOf reads what is in use on every node.
func machinesOf(snap *state.Snapshot, nodes int) []machine {
	out := make([]machine, nodes)
	for i := range out {
		out[i].size = sizes[i%len(sizes)]
		out[i].eligible = rack(i) < eligibleBelow
		for a := range snap.AllocsByNode(nodeID(i)) {
			out[i].take(a.Resources.CPU, a.Resources.MemoryMB, a.Resources.DiskMB)
		}
	}
	return out
}

func (m *machine) take(cpu, memory, disk int) {
	m.cpu, m.memory, m.disk, m.used = m.cpu+cpu, m.memory+memory, m.disk+disk, true
}

// exhaust places the same jobs as a world by looking at every machine for every copy: best fit, less one count-th for each copy of the
// job that is there already. It is the rule of the planner written down once more, as plainly as can be.
func exhaust(machines []machine, constrained bool, jobs, count int) {
	for j := range jobs {
		cpu, memory := ask(j)
		there := make([]int, len(machines))
		for range count {
			best, score := -1, math.Inf(-1)
			for i := range machines {
				m := &machines[i]
				if (constrained && !m.eligible) || m.cpu+cpu > m.size.CPU || m.memory+memory > m.size.MemoryMB || m.disk+10 > m.size.DiskMB {
					continue
				}
				if s := m.fit(cpu, memory) - float64(there[i]); s > score {
					best, score = i, s
				}
			}
			machines[best].take(cpu, memory, 10)
			there[best]++
		}
	}
}

// fit is BestFit v3: 1 when cpu and memory are used up together, 0 on an empty machine.
func (m *machine) fit(cpu, memory int) float64 {
	freeCPU := 1 - float64(m.cpu+cpu)/float64(m.size.CPU)
	freeMemory := 1 - float64(m.memory+memory)/float64(m.size.MemoryMB)
	return (20 - math.Exp(math.Ln10*freeCPU) - math.Exp(math.Ln10*freeMemory)) / 18
}

// packing is how much of the machines in use is used, in percent: the mean of cpu and memory.
func packing(machines []machine) float64 {
	used, cpu, memory, allCPU, allMemory := 0, 0, 0, 0, 0
	for _, m := range machines {
		if m.used {
			used, cpu, memory, allCPU, allMemory = used+1, cpu+m.cpu, memory+m.memory, allCPU+m.size.CPU, allMemory+m.size.MemoryMB
		}
	}
	if used == 0 {
		return 0
	}
	return 50 * (float64(cpu)/float64(allCPU) + float64(memory)/float64(allMemory))
}
