package agent

import (
	"errors"
	"fmt"
	"strings"

	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/runtime/containerd"
	"github.com/drover-io/drover/runtime/exec"
	"github.com/drover-io/drover/state"
)

// CheckJob asks the drivers what they have to say about the config blocks of a job's tasks, before a node has to. It knows nothing
// of any node: what a node allows shows when a task starts there. Drivers that this binary does not have are left alone.
func CheckJob(job *state.Job) (problems, warnings []*state.FieldError) {
	for i := range job.TaskGroups {
		g := &job.TaskGroups[i]
		for j := range g.Tasks {
			t := &g.Tasks[j]
			at := func(field, text string) *state.FieldError {
				return &state.FieldError{Group: g.Name, Task: t.Name, Field: field, Problem: text}
			}
			switch runtime.CanonicalDriver(t.Driver) {
			case "containerd":
				bad, odd := containerd.CheckConfig(t.Config, portLabels(g))
				for _, p := range bad {
					problems = append(problems, at("config."+p.Key, p.Text))
				}
				for _, w := range odd {
					warnings = append(warnings, at("config."+w.Key, w.Text))
				}
				if hard, ok := t.Config["memory_hard_limit"].(float64); ok && hard > 0 && int(hard) < t.Resources.MemoryMB {
					problems = append(problems, at("config.memory_hard_limit", fmt.Sprintf("%.0f MiB is below resources.memory, %d MiB", hard, t.Resources.MemoryMB)))
				}
				if text := unmapped(g, t); text != "" {
					warnings = append(warnings, at("config.ports", text))
				}
			case "exec":
				if err := exec.CheckConfig(t.Config); err != nil {
					text := strings.TrimSuffix(err.Error(), ": "+runtime.ErrNotRetryable.Error())
					problems = append(problems, at("config", strings.TrimPrefix(text, "config: ")))
				}
			}
		}
	}
	return problems, warnings
}

func ports(g *state.TaskGroup) []state.Port {
	var list []state.Port
	for _, n := range g.Networks {
		list = append(append(list, n.ReservedPorts...), n.DynamicPorts...)
	}
	return list
}

func portLabels(g *state.TaskGroup) []string {
	var labels []string
	for _, p := range ports(g) {
		labels = append(labels, p.Label)
	}
	return labels
}

// unmapped says that a port is not where the author of a job for Docker's own network expects it.
func unmapped(g *state.TaskGroup, t *state.Task) string {
	if mode, _ := t.Config["network_mode"].(string); mode == "none" {
		return ""
	}
	for _, p := range ports(g) {
		if p.To > 0 && p.To != p.Value {
			return fmt.Sprintf("the group shares the node's network, so nothing leads from the node's port to %d (to = %d of port %q): have the program listen on ${NOMAD_HOST_PORT_%s}",
				p.To, p.To, p.Label, p.Label)
		}
	}
	return ""
}

func joinFields(list []*state.FieldError) error {
	errs := make([]error, len(list))
	for i, f := range list {
		errs[i] = f
	}
	return errors.Join(errs...)
}
