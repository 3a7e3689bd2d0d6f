package main

// A mutant is one change that a test is to notice.
type mutant struct {
	guarantee int
	says      string // what the code does not do any more
	file      string // from the root of the module
	from, to  string
	dir, tag  string // the test's package, and its build tag
	test      string
}

const agentDir, volumeDir = "./internal/agent", "./internal/volume"

var mutants = []mutant{
	{1, "a device's identity is not read again before the first write", "internal/agent/local_wipe.go",
		"return w.Identity.Expect(identityOfDevice(b, c.Name, w.Entry.Name))", "return nil",
		agentDir, "root", "TestRootDevice"},
	{1, "a filesystem's identity is not read again before the first removal", "internal/agent/local_wipe.go",
		"return identity.Expect(now)", "_ = now; return nil",
		agentDir, "root", "TestRootFilesystem"},
	{2, "the API server is not asked once more before a wipe", "internal/agent/act.go",
		"if v.UID != r.PV.UID || !v.Released || !v.Delete {", "if false {",
		agentDir, "", "TestWipeNeedsTheServersWord"},
	{2, "a PV that is missing is consent", "internal/volume/decide_used.go",
		"return quarantine(in, fmt.Sprintf(\"its PV %s was removed while %s had it, or before its wipe\", in.Record.PV.Name, tenant(in)))", "return keep(in.Record.with(Wiping, nil))",
		volumeDir, "", "TestEveryDecision"},
	{3, "a used volume without its PV is taken for clean", "internal/volume/decide_used.go",
		"return quarantine(in, fmt.Sprintf(\"its PV %s was removed while %s had it, or before its wipe\", in.Record.PV.Name, tenant(in)))", "return keep(in.Record.with(Clean, nil))",
		volumeDir, "", "TestNoSecondTenantSeesTheFirstsBytes"},
	{3, "a damaged journal record is forgotten", "internal/volume/journal.go",
		"r = j.noteDamage(id, path, data, err)", "continue", volumeDir, "", "TestDamagedRecordsAreQuarantined"},
	{2, "a CSI client's word erases a claim's volume", "internal/agent/keeper.go",
		"case known && (r.Carved == nil || !r.Carved.Asked):", "case false:",
		agentDir, "", "TestKeeperRefuses"},
	{3, "a carved volume is handed out that is not in use by the journal", "internal/agent/keeper.go",
		"case r.State != volume.Used:", "case false:",
		agentDir, "", "TestKeeperRefuses"},
	{3, "blocks that the next tenant can read are not erased", "internal/agent/carve.go",
		"if p.Features().Raw {", "if false {",
		agentDir, "", "TestCarvedCrashConverges"},
	{3, "a volume is carved anew although it has a PV", "internal/volume/decide_carved.go",
		"case in.PV != nil:\n\t\treturn used(in)\n\tcase in.wanted() && in.Carve != nil:", "case in.wanted() && in.Carve != nil:",
		volumeDir, "", "TestEveryCarvedDecision"},
	{4, "a mount inside does not stop a wipe before it begins", "internal/wipe/contents.go",
		"if len(nested) > 0 {", "if false {",
		"./internal/wipe", "root", "TestNestedMountStopsTheWipe"},
	{4, "a wipe follows links", "internal/host/tree.go",
		"Flags: flags | unix.O_NOFOLLOW | unix.O_CLOEXEC, Resolve: resolveWithin}", "Flags: flags | unix.O_CLOEXEC}; _ = uint64(resolveWithin)",
		"./internal/wipe", "root", "TestRenamesDuringTheWipe"},
	{5, "an unclaimed PV stays when its disk goes", "internal/volume/decide.go",
		"case pv.Deleting, in.Disk == nil && in.Looked, ", "case pv.Deleting, ",
		agentDir, "", "TestGoneAndBack"},
	{5, "a claim's disk that goes is not told", "internal/agent/gone.go",
		"case now == api.ReasonDiskGone:", "case false:",
		agentDir, "", "TestGoneAndBack"},
	{6, "a place gets a second PV beside a claim's", "internal/volume/decide.go",
		"case in.Rival != \"\":", "case false:",
		volumeDir, "", "TestEveryDecision"},
	{6, "room is not set aside before a volume is made", "internal/pool/internal/shelf/change.go",
		"s.aside[temp] = bytes", "_ = temp",
		"./internal/pool/internal/shelf", "", "TestMakingHasItsSpace"},
	{6, "what is being erased is promised again", "internal/pool/internal/shelf/change.go",
		"s.aside[temp] = v.Bytes", "",
		"./internal/pool/internal/shelf", "", "TestLeavingKeepsItsSpace"},
	{7, "a volume that a client's word erases is not noted to be before", "internal/agent/keeper.go",
		"r.State = volume.Wiping\n", "",
		agentDir, "", "TestNamedCrashConverges"},
	{7, "that an unclaimed PV is leaving is not written down before it goes", "internal/volume/decide.go",
		"case pv.Deleting && !in.Record.PV.Leaving:", "case false:",
		agentDir, "", "TestCrashConverges"},
	{8, "disks are looked at one after the other", "internal/agent/discover.go",
		"const inspections = 64", "const inspections = 1",
		agentDir, "", "TestHungDiskIsAlone"},
	{9, "a bad configuration is obeyed", "internal/agent/reload.go",
		"a.reports.set(configSubject, api.ReasonConfigRefused, fmt.Sprintf(\"the configuration is refused%s: %v\", stays(a.config()), err))\n\t\treturn", "_ = stays", agentDir, "", "TestReload"},
	{10, "an error in a policy lets the write pass", "deploy/helm/berth/templates/admission/_helpers.tpl",
		"failurePolicy: Fail", "failurePolicy: Ignore",
		"./deploy", "", "TestPolicies"},
}
