package fleet

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/drover-io/drover/state"
)

// metaSubmitted is the key of a job's meta that says when it was submitted: wall clock, nanoseconds. Agents measure from it.
const metaSubmitted = "submitted"

// Shapes are the ways in which jobs ask to be placed.
func Shapes() []string {
	return []string{"constraint", "plain", "affinity", "spread", "distinct_hosts"}
}

// CheckShape refuses a shape that there is not.
func CheckShape(shape string) error {
	if !slices.Contains(Shapes(), shape) {
		return fmt.Errorf("there is no shape %q; there are %s", shape, strings.Join(Shapes(), ", "))
	}
	return nil
}

// Job is the i-th job of a name: one group of count copies, of one task of the fake driver.
func Job(name, shape string, i, count int) *state.Job {
	restart := state.RestartPolicy{Attempts: 2, Interval: 30 * time.Minute, Delay: 15 * time.Second, Mode: state.RestartModeFail}
	id := fmt.Sprintf("%s-%05d", name, i)
	j := &state.Job{
		Namespace: "default", ID: id, Name: id, Type: state.JobTypeService, Region: "global", Datacenters: []string{"*"}, NodePool: "default", Priority: 50,
		TaskGroups: []state.TaskGroup{{
			Name: "g", Count: count, RestartPolicy: restart,
			ReschedulePolicy: state.ReschedulePolicy{Delay: 30 * time.Second, DelayFunction: state.DelayExponential, MaxDelay: time.Hour, Unlimited: true},
			Update:           state.UpdateStrategy{MaxParallel: 1},
			EphemeralDisk:    state.EphemeralDisk{SizeMB: copyDiskMB},
			Tasks: []state.Task{{
				Name: taskName, Driver: "fake", Resources: state.Resources{CPU: copyCPU, MemoryMB: copyMemoryMB}, RestartPolicy: restart, KillTimeout: 5 * time.Second,
				LogConfig: state.LogConfig{MaxFiles: 2, MaxFileSizeMB: 1},
			}},
		}},
	}
	shapeJob(j, shape, i)
	return j
}

func shapeJob(j *state.Job, shape string, i int) {
	var half []string
	for rack := i % 2; rack < Racks; rack += 2 {
		half = append(half, rackName(rack))
	}
	in := state.Constraint{LTarget: "${meta.rack}", RTarget: strings.Join(half, ","), Operand: state.OperandSetContainsAny}
	switch shape {
	case "constraint":
		j.Constraints = []state.Constraint{in}
	case "affinity":
		j.Affinities = []state.Affinity{{LTarget: in.LTarget, RTarget: in.RTarget, Operand: in.Operand, Weight: 50}}
	case "spread":
		j.Spreads = []state.Spread{{Attribute: "${meta.rack}", Weight: 50}}
	case "distinct_hosts":
		j.Constraints = []state.Constraint{{Operand: state.OperandDistinctHosts}}
	}
}

// Stamp says in a job when it is submitted: now.
func Stamp(j *state.Job) {
	j.Meta = map[string]string{metaSubmitted: strconv.FormatInt(time.Now().UnixNano(), 10)}
}

// submitted is when a job says that it was submitted; 0 when it does not.
func submitted(j *state.Job) int64 {
	at, err := strconv.ParseInt(j.Meta[metaSubmitted], 10, 64)
	if err != nil {
		return 0
	}
	return at
}
