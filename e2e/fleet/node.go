package fleet

import (
	"crypto/sha256"
	"fmt"

	"github.com/google/uuid"

	"github.com/drover-io/drover/state"
)

// Racks is how many values the nodes' attribute ${meta.rack} has: half of them are even.
const Racks = 20

// What one copy asks for, see Job.
const (
	copyCPU      = 10 // MHz
	copyMemoryMB = 10
	copyDiskMB   = 10
)

// Plan says what nodes there are.
type Plan struct {
	Nodes  int
	Copies int // that all nodes together must have room for, and half as many again
}

// Node is the i-th node. Sizes are mixed, half of the room lies in each half of the racks, and the IDs are the same in every run.
func (p Plan) Node(i int) *state.Node {
	sum := sha256.Sum256(fmt.Appendf(nil, "simulated node %d", i))
	rack := i % Racks
	// Two racks, one of each half, have the same sizes.
	quarters := []int{2, 3, 4, 5, 6}[rack/2%5] // of the average node
	room := max(1, (p.Copies*3/2+p.Nodes-1)/p.Nodes*quarters/4)
	addr := fmt.Sprintf("10.%d.%d.%d", 64+i>>16, i>>8&255, i&255) // nobody listens there, and nobody asks
	return &state.Node{
		ID: uuid.UUID(sum[:16]).String(), Name: fmt.Sprintf("node-%05d", i), Datacenter: "dc1", NodePool: "default", Region: "global",
		PeerAddr: addr + ":4647", HTTPAddr: addr + ":4646", HostIP: addr,
		Attributes: map[string]string{"kernel.name": "linux", "cpu.arch": "amd64", "os.name": "simulated", "driver.fake": "1"},
		Meta:       map[string]string{"rack": rackName(rack)},
		Drivers:    map[string]state.DriverInfo{"fake": {Detected: true, Healthy: true}},
		Resources: state.NodeResources{
			CPU: room * copyCPU, MemoryMB: room * copyMemoryMB, DiskMB: room * copyDiskMB, MinDynamicPort: 20000, MaxDynamicPort: 32000,
		},
		Level: state.MaxLevel, Boot: 1, BootID: "simulated",
	}
}

func rackName(rack int) string { return fmt.Sprintf("r%02d", rack) }
