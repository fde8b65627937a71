package main

import (
	"io"
	"net"
	"sort"
	"strconv"
	"strings"

	"github.com/drover-io/drover/api"
)

// allocList is how allocations are listed, newest first, with their jobs where they are of several.
func allocList(allocs []api.AllocListItem, verbose, jobs bool) list[api.AllocListItem] {
	sort.SliceStable(allocs, func(i, j int) bool {
		if allocs[i].CreateIndex != allocs[j].CreateIndex {
			return allocs[i].CreateIndex > allocs[j].CreateIndex
		}
		return allocs[i].Index < allocs[j].Index
	})
	l := list[api.AllocListItem]{items: allocs, name: func(x api.AllocListItem) string { return x.ID }}
	add := func(head string, wide bool, cell func(api.AllocListItem) string) {
		l.columns = append(l.columns, column[api.AllocListItem]{head: head, wide: wide, cell: cell})
	}
	add("ID", false, func(x api.AllocListItem) string { return shortID(x.ID, verbose) })
	add("Name", true, func(x api.AllocListItem) string { return x.Name })
	add("Node ID", false, func(x api.AllocListItem) string { return shortID(x.NodeID, verbose) })
	add("Node", false, func(x api.AllocListItem) string { return x.NodeName })
	if jobs {
		add("Namespace", true, func(x api.AllocListItem) string { return x.Namespace })
		add("Job ID", false, func(x api.AllocListItem) string { return x.JobID })
	}
	add("Task Group", false, func(x api.AllocListItem) string { return x.TaskGroup })
	add("Version", false, func(x api.AllocListItem) string { return strconv.FormatUint(x.JobVersion, 10) })
	add("Desired", false, func(x api.AllocListItem) string { return x.DesiredStatus })
	add("Status", false, func(x api.AllocListItem) string { return x.ClientStatus })
	l.columns = append(l.columns, column[api.AllocListItem]{head: "Created", at: func(x api.AllocListItem) int64 { return x.CreateTime }},
		column[api.AllocListItem]{head: "Modified", at: func(x api.AllocListItem) int64 { return x.ModifyTime }})
	add("Ports", true, func(x api.AllocListItem) string { return portWords(x) })
	add("Description", true, func(x api.AllocListItem) string { return orDash(x.ClientDescription) })
	return l
}

// portWords are an allocation's ports: "http=10.0.0.1:20312".
func portWords(x api.AllocListItem) string {
	var out []string
	for _, p := range x.Ports {
		out = append(out, p.Label+"="+net.JoinHostPort(p.HostIP, strconv.Itoa(p.HostPort)))
	}
	return orDash(strings.Join(out, " "))
}

// allocTable lists allocations as part of a page.
func allocTable(w io.Writer, allocs []api.AllocListItem, verbose, jobs bool) error {
	return allocList(allocs, verbose, jobs).table(w, false)
}
