package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/drover-io/drover/api"
	"github.com/drover-io/drover/runtime"
	"github.com/drover-io/drover/state"
)

// nodeResources are the rows of a machine's resources: what its copies hold, and what it has.
func nodeResources(n *api.NodeView) [][]string {
	r, u := n.Resources, n.Allocated
	rows := [][]string{
		{"CPU", fmt.Sprintf("%d MHz", u.CPU), fmt.Sprintf("%d MHz", r.CPU)},
		{"Memory", fmt.Sprintf("%d MiB", u.MemoryMB), fmt.Sprintf("%d MiB", r.MemoryMB)},
		{"Disk", fmt.Sprintf("%d MiB", u.DiskMB), fmt.Sprintf("%d MiB", r.DiskMB)},
	}
	if len(r.Cores) > 0 {
		rows = append(rows, []string{"Cores", orDash(runtime.FormatCores(u.Cores)), fmt.Sprintf("%s at %d MHz", runtime.FormatCores(r.Cores), r.MHzPerCore)})
	}
	return rows
}

// writeDevices shows a machine's devices, if it has any.
func writeDevices(w io.Writer, n *api.NodeView, verbose bool) error {
	if len(n.Resources.Devices) == 0 {
		return nil
	}
	fmt.Fprintln(w, "\nDevices")
	var rows [][]string
	for i := range n.Resources.Devices {
		d := &n.Resources.Devices[i]
		var held, sick, all []string
		for _, in := range d.Instances {
			all = append(all, in.ID)
			if !in.Healthy {
				sick = append(sick, strings.TrimSpace(in.ID+" "+in.HealthDescription))
			}
		}
		for _, u := range n.Allocated.Devices {
			if u.ID() == d.ID() {
				held = append(held, u.IDs...)
			}
		}
		slices.Sort(held)
		of := fmt.Sprintf("%d", len(all))
		if d.Shared {
			of = "shared"
		}
		row := []string{d.ID(), fmt.Sprintf("%d", len(held)), of, orDash(strings.Join(sick, "; "))}
		if verbose {
			row = append(row, strings.Join(all, " "), orDash(joinPairs(d.Attributes)))
		}
		rows = append(rows, row)
	}
	head := "Device|Allocated|Of|Unhealthy"
	if verbose {
		head += "|Instances|Attributes"
	}
	return table(w, head, rows)
}

func joinPairs(m map[string]string) string {
	var out []string
	for _, k := range sortedKeys(m) {
		out = append(out, k+"="+m[k])
	}
	return strings.Join(out, " ")
}

// heldBy says what an allocation holds.
func heldBy(r *state.AllocResources) string {
	text := fmt.Sprintf("%d MHz, %d MiB memory", r.CPU, r.MemoryMB)
	if r.MemoryMaxMB > 0 {
		text += fmt.Sprintf(" (up to %d)", r.MemoryMaxMB)
	}
	text += fmt.Sprintf(", %d MiB disk", r.DiskMB)
	if len(r.Cores) > 0 {
		text += ", cores " + runtime.FormatCores(r.Cores)
	}
	for i := range r.Devices {
		text += ", " + r.Devices[i].ID() + " " + strings.Join(r.Devices[i].IDs, " ")
	}
	return text
}
