package main

import (
	"strings"

	"github.com/spf13/cobra"
)

// commands are the nouns, the short forms of the verbs used most, and the rest.
func commands(a *app) []*cobra.Command {
	nouns := []*cobra.Command{
		newAgentCommand(a),
		newJob(a),
		newAlloc(a),
		newNode(a),
		newServer(a),
		newImage(a),
		newOperator(a),
		newSystem(a),
		newEvents(a),
		newContext(a),
		noun("config", "Check an agent's configuration", "  drover config validate /etc/drover.d", newConfigValidate(a)),
	}
	short := []*cobra.Command{
		shortForm("job", newJobInit(a)),
		shortForm("job", newJobRun(a)),
		shortForm("job", newJobPlan(a)),
		shortForm("job", newJobStart(a)),
		shortForm("job", newJobStop(a)),
		shortForm("job", newJobScale(a)),
		shortForm("job", newJobInspect(a)),
		shortForm("job", newJobValidate(a)),
		shortForm("alloc", newAllocLogs(a)),
		shortForm("alloc", newAllocExec(a)),
		shortForm("alloc", newAllocFS(a)),
		shortForm("alloc", newAllocCp(a)),
		shortForm("alloc", newAllocForward(a)),
		newPs(a),
		habits(newStatus(a), "get", "ls", "list", "describe"),
		newApply(a),
	}
	other := []*cobra.Command{
		newTop(a),
		newExplain(a),
		newFmt(a),
		newMonitor(a),
		newAgentInfo(a),
		newVersionCommand(a),
		newCompletion(a),
		newDocs(a),
	}
	for _, c := range nouns {
		c.GroupID = groupNouns
	}
	for _, c := range short {
		c.GroupID = groupShort
	}
	for _, c := range other {
		c.GroupID = groupOther
	}
	return append(append(nouns, short...), other...)
}

func newJob(a *app) *cobra.Command {
	return habits(noun("job", "Run and look at jobs", "  drover job run hello.nomad.hcl\n  drover job status hello",
		newJobInit(a),
		newJobRun(a),
		newJobPlan(a),
		newJobStatus(a),
		newJobStart(a),
		newJobStop(a),
		newJobRestart(a),
		newJobScale(a),
		newJobInspect(a),
		newJobHistory(a),
		newJobRevert(a),
		newJobAllocs(a),
		newJobLogs(a),
		newJobWait(a),
		newJobValidate(a),
		newJobWhy(a),
	), "jobs", "deployment", "rollout")
}

func newAlloc(a *app) *cobra.Command {
	return habits(noun("alloc", "Look at and steer single copies", "  drover alloc status 8f3c\n  drover alloc logs -f 8f3c",
		newAllocStatus(a),
		newAllocLogs(a),
		newAllocExec(a),
		newAllocFS(a),
		newAllocCp(a),
		newAllocStats(a),
		newAllocSignal(a),
		newAllocForward(a),
		newAllocStop(a),
		newAllocRestart(a),
		newAllocWhy(a),
	), "allocs", "allocation", "container", "pod")
}

func newNode(a *app) *cobra.Command {
	return habits(noun("node", "Look at machines", "  drover node status\n  drover node eligibility --disable 8f3c",
		newNodeStatus(a),
		newNodeEligibility(a),
		newNodeLost(a),
		newNodeWhy(a),
		newNodePool(a),
	), "nodes", "machine")
}

func newServer(a *app) *cobra.Command {
	return habits(noun("server", "Look at the servers", "  drover server members",
		newServerMembers(a),
		newServerJoin(a),
		newServerForceLeave(a),
		newServerLeave(a),
	), "servers")
}

func newSystem(a *app) *cobra.Command {
	return noun("system", "Clear up", "  drover system gc",
		newSystemGC(a),
	)
}

// habits are other words by which users of other tools look for a command.
func habits(cmd *cobra.Command, words ...string) *cobra.Command {
	cmd.SuggestFor = append(cmd.SuggestFor, words...)
	return cmd
}

// shortForm is a verb at the top level.
func shortForm(noun string, cmd *cobra.Command) *cobra.Command {
	for _, c := range append(cmd.Commands(), cmd) {
		c.Example = strings.ReplaceAll(c.Example, "drover "+noun+" "+cmd.Name(), "drover "+cmd.Name())
	}
	cmd.Short += " (`" + noun + " " + cmd.Name() + "`)"
	return cmd
}
