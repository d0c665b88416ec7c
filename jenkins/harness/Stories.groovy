// Executes the Jenkinsfile, each action with each exit status, then with the real program; holds the results against the table
// in README.md; reads casc.yaml and runs its job definitions. Prints a line for each check.
//
//   groovy -cp CLASSES Stories.groovy FOLDER SCRATCH CASC_AS_JSON [BACKUP]

import com.sun.net.httpserver.HttpServer
import groovy.json.JsonSlurper
import java.nio.file.Files
import javax.xml.XMLConstants
import javax.xml.transform.stream.StreamSource
import javax.xml.validation.SchemaFactory

folder = new File(args[0])
scratch = new File(args[1])
jenkinsfile = new File(folder, 'Jenkinsfile').text
passed = 0
failed = 0

def ok(boolean holds, String what, Object why = '') {
    if (holds) { passed++; println "ok       ${what}" } else { failed++; println "FAILED   ${what}: ${why}" }
}

def same(Object is, Object wanted, String what) { ok(is == wanted, what, "${is}, wanted ${wanted}") }

def program(File file, String text) {
    file.parentFile.mkdirs()
    file.text = text
    file.setExecutable(true)
}

def build(Map how) {
    def workspace = how.workspace ?: Files.createTempDirectory(scratch.toPath(), 'workspace').toFile()
    def env = [PATH: "${how.bin}:/usr/bin:/bin", HOME: workspace.path, JOB_BASE_NAME: 'backup-nightly', BUILD_NUMBER: '7'] + (how.env ?: [:])
    def credentials = how.credentials ?: ['backup-slack-webhook': 'https://slack.invalid/SECRET-WORD', 'backup-jira-token': 'SECRET-WORD']
    Runner.run(jenkinsfile: jenkinsfile, workspace: workspace, params: how.params ?: [:], env: env, credentials: credentials)
}

// --- the table: README.md says it to people, so it is what counts
table = [:]
new File(folder, 'README.md').eachLine { line ->
    def row = (line =~ /^\| ([0-9]+)(?:, ([0-9]+))? \| (SUCCESS|UNSTABLE|FAILURE|NOT_BUILT|ABORTED) \|/)
    if (row.find()) { [row.group(1), row.group(2)].findAll().each { table[it as int] = row.group(3) } }
}
same(table.keySet().sort(), [0, 1, 2, 3, 4, 5, 6, 130, 143], 'README.md has a row for every exit status of the program')

// --- a program that ends as it is told
fake = new File(scratch, 'fake')
program(new File(fake, 'backup'), '''#!/bin/sh
case "$*" in --version) exit 0;; '--quiet config check') env | sed 's/=.*//' >"$HOME/checked"; exit "${FAKE_CHECK:-0}";; esac
printf '%s\\n' "$@" >"$HOME/asked"; env | sed 's/=.*//' >"$HOME/knew"
while [ $# -gt 0 ]; do
  if [ "$1" = --junit ]; then
    verdict=; [ "$FAKE" != 4 ] || verdict='<failure message="damage"/>'
    echo "<testsuites><testsuite name='x'><testcase name='x' classname='x'>$verdict</testcase></testsuite></testsuites>" >"$2"
  fi
  shift
done
echo '{"type":"x"}'
exit "$FAKE"
''')
asked = [
    run: ['--json', 'run', 'upload'],
    verify: ['--json', 'verify', 'latest', '--deep', '--job', 'upload', '--junit', 'backup-verify.xml'],
    drill: ['--json', 'verify', 'latest', '--drill', '--scratch', 'WORKSPACE/drill', '--job', 'upload', '--junit', 'backup-drill.xml'],
    restore: ['--json', 'restore', 'latest', '--job', 'upload', '--to', 'WORKSPACE/restored-7'],
    'prune-dry-run': ['--json', 'prune', '--dry-run', '--job', 'upload'],
]
asked.each { action, arguments ->
    def results = [:]
    def complaints = []
    (table.keySet() + [77, 255]).each { status ->
        def workspace = Files.createTempDirectory(scratch.toPath(), 'workspace').toFile()
        def build = build(bin: fake, workspace: workspace, params: [ACTION: action], env: [FAKE: "${status}"])
        results[status] = build.result
        def said = new File(workspace, 'asked').readLines()*.replace(workspace.path, 'WORKSPACE')
        if (said != arguments) { complaints << "asked ${said}" }
        def name = action == 'prune-dry-run' ? 'prune' : action
        if (!build.archived.contains("backup-${name}.jsonl".toString())) { complaints << "archived ${build.archived}" }
        if ((action in ['verify', 'drill']) != (build.junitFiles.size() == 1)) { complaints << "junit ${build.junitFiles}" }
        if (build.stages != ['check', action == 'prune-dry-run' ? 'prune, shown only' : action, 'post: always'] && build.stages != ['check', action == 'prune-dry-run' ? 'prune, shown only' : action]) { complaints << "stages ${build.stages}" }
        if (!build.description?.startsWith("${action} of upload: ")) { complaints << "description ${build.description}" }
        def knew = new File(workspace, 'knew').readLines()
        def checked = new File(workspace, 'checked').readLines()
        ['SLACK_WEBHOOK_URL', 'JIRA_TOKEN'].each { secret ->
            if (knew.contains(secret) != (action == 'run')) { complaints << "${secret} in the wrong step" }
            if (!checked.contains(secret)) { complaints << "`config check` has no ${secret}" }
        }
        if (build.log.any { it.contains('SECRET-WORD') }) { complaints << 'a secret in the log' }
    }
    (table + [77: 'FAILURE', 255: 'FAILURE']).each { status, wanted -> same(results[status], wanted, "${action} that ends with ${status} is") }
    ok(complaints.isEmpty(), "${action}: ${results.size()} builds asked for the right thing, archived it, kept secrets", complaints.unique())
}

// --- what people can type
["", "-x", "a b", "x;touch hit", "\$(touch hit)", "x\ny", "../x", "x" * 65].each { name ->
    def build = build(bin: fake, params: [JOB: name], env: [FAKE: '0'])
    ok(build.result == 'FAILURE' && build.stages == ['check'] && build.commands.isEmpty(), "JOB ${name.inspect()} is refused before any shell", build.log)
}
["", "--to", "x y", "a\nb"].each { name ->
    def build = build(bin: fake, params: [ACTION: 'restore', SNAPSHOT: name], env: [FAKE: '0'])
    ok(build.result == 'FAILURE' && build.commands.isEmpty(), "SNAPSHOT ${name.inspect()} is refused before any shell", build.log)
}
["relative", "--delete", "/a\nb"].each { name ->
    def build = build(bin: fake, params: [ACTION: 'restore', RESTORE_TO: name], env: [FAKE: '0'])
    ok(build.result == 'FAILURE' && build.commands.isEmpty(), "RESTORE_TO ${name.inspect()} is refused before any shell", build.log)
}
hard = Files.createTempDirectory(scratch.toPath(), 'workspace').toFile()
build(bin: fake, workspace: hard, params: [ACTION: 'restore', RESTORE_TO: '/x y/$(touch hit) "z"'], env: [FAKE: '0'])
same(new File(hard, 'asked').readLines().last(), '/x y/$(touch hit) "z"', 'a folder with blanks and dollars arrives as it is')
ok(!new File(hard, 'hit').exists(), 'and nothing of it is code')
wrong = build(bin: fake, env: [FAKE: '0', FAKE_CHECK: '2'])
same([wrong.result, wrong.stages], ['FAILURE', ['check']], 'a wrong configuration fails the build before anything is done')
stale = Files.createTempDirectory(scratch.toPath(), 'workspace').toFile()
new File(stale, 'backup-verify.xml').text = '<testsuites><testsuite><testcase><failure/></testcase></testsuite></testsuites>'
same(build(bin: fake, workspace: stale, env: [FAKE: '0']).result, 'SUCCESS', 'what an earlier build left does not count')

// --- what the job is
nightly = build(bin: fake, env: [FAKE: '0'])
same(nightly.crons, ['H 2 * * *'], 'backup-nightly comes')
same(build(bin: fake, env: [FAKE: '0', JOB_BASE_NAME: 'backup-on-demand']).crons, [''], 'backup-on-demand comes')
same(nightly.options.disableConcurrentBuilds, true, 'no two builds at once')
same(nightly.options.timeout, [time: 20, unit: 'HOURS'], 'a timeout')
same(nightly.choices.ACTION, ['run', 'verify', 'drill', 'restore', 'prune-dry-run'], 'actions')
same(nightly.boundIds, ['backup-slack-webhook', 'backup-jira-token'] * 2, 'credentials that `config check` and a run are given')

// --- the harness itself: it refuses what it does not know, and its results only get worse
['pipeline { agent { label "x" }\n stages { stage("x") { steps { ehco "x" } } } }', 'pipeline { agnet { } }', 'pipeline { agent { label "x" }\n options { timeuot() }\n stages { } }'].each { text ->
    def complained = false
    try {
        Runner.run(jenkinsfile: text, workspace: scratch, env: [:])
    } catch (IllegalStateException | MissingMethodException unknown) {
        complained = true
    }
    ok(complained, "the harness refuses a misspelt `${(text =~ /ehco|agnet|timeuot/)[0]}`")
}
worse = new Build()
['FAILURE', 'UNSTABLE'].each { worse.worsen(it) }
same(worse.result, 'FAILURE', 'a failed build does not become unstable again')

// --- configuration as code
casc = new JsonSlurper().parse(new File(args[2]))
same(casc.jenkins.numExecutors, 0, 'casc.yaml: the controller runs nothing')
same(casc.jenkins.nodes[0].permanent.labelString, nightly.label, 'casc.yaml: the agent has the label that the Jenkinsfile wants')
ids = casc.credentials.system.domainCredentials[0].credentials*.string*.id
same(ids as Set, nightly.boundIds as Set, 'casc.yaml: the credentials that the Jenkinsfile binds are made')
ok(casc.credentials.system.domainCredentials[0].credentials*.string*.secret.every { it.startsWith('${readFile:') }, 'casc.yaml: secrets are read from files')

/** Writes down what a job definition says; the names it may say are listed. */
class Definition {
    static final Map KNOWN = [
        pipelineJob: ['description', 'parameters', 'properties', 'definition'],
        parameters: ['stringParam', 'choiceParam'],
        properties: ['disableConcurrentBuilds', 'pipelineTriggers'],
        pipelineTriggers: ['triggers'],
        triggers: ['cron'],
        cron: ['spec'],
        definition: ['cpsScm'],
        cpsScm: ['scm', 'scriptPath', 'lightweight'],
        scm: ['git'],
        git: ['remote', 'branch'],
        remote: ['url'],
    ]
    String name
    List said = []

    def methodMissing(String word, given) {
        if (!(word in KNOWN[name])) { throw new IllegalStateException("`${word}` is not known in `${name}`") }
        def arguments = given as List
        if (!arguments.isEmpty() && arguments.last() instanceof Closure) {
            def inner = new Definition(name: word)
            def body = arguments.last()
            body.delegate = inner
            body.resolveStrategy = Closure.DELEGATE_ONLY
            body.call()
            said << [word, inner.said]
        } else {
            said << [word, arguments]
        }
        null
    }

    List all(String word) {
        said.collectMany { one -> (one[0] == word ? [one[1]] : []) + (one[1] instanceof List && KNOWN[one[0]] ? new Definition(name: one[0], said: one[1]).all(word) : []) }
    }
}
jobs = [:]
casc.jobs.each { one ->
    def pipelineJob = { String name, Closure body ->
        jobs[name] = new Definition(name: 'pipelineJob')
        body.delegate = jobs[name]
        body.resolveStrategy = Closure.DELEGATE_ONLY
        body.call()
    }
    new GroovyShell(new Binding(pipelineJob: pipelineJob)).evaluate(one.script)
}
same(jobs.keySet(), ['backup-nightly', 'backup-on-demand'] as Set, 'job definitions run, and make')
jobs.each { name, job ->
    def parameters = job.all('stringParam').collectEntries { [it[0], it[1]] } + job.all('choiceParam').collectEntries { [it[0], it[1][0]] }
    same(parameters, nightly.parameters, "${name}: has the parameters of the Jenkinsfile")
    same(job.all('choiceParam')[0][1], nightly.choices.ACTION, "${name}: and its choices")
    ok(new File(folder.parentFile, job.all('scriptPath')[0][0]).isFile(), "${name}: its Jenkinsfile is there")
    same(job.all('spec').flatten(), name == 'backup-nightly' ? ['H 2 * * *'] : [], "${name}: its time")
    same(job.all('disableConcurrentBuilds').size(), 1, "${name}: no two builds at once")
}

// --- the real program
if (args.length > 3) {
    def told = Collections.synchronizedList([])
    def receiver = HttpServer.create(new InetSocketAddress('127.0.0.1', 0), 0)
    receiver.createContext('/') { exchange ->
        told << exchange.requestBody.text
        exchange.sendResponseHeaders(200, 2)
        exchange.responseBody.withStream { it << 'ok' }
    }
    receiver.start()
    def site = new File(scratch, 'site')
    def source = new File(site, 'upload')
    source.mkdirs()
    (1..40).each { new File(source, "JohnDoe_${it}_2026.pdf").text = "week ${it} ".multiply(200) }
    def configuration = """
state_dir: ${site}/state
stores: {nas: {path: ${site}/store}}
jobs: {upload: {source: ${source}, retention: {last: 7}}}
"""
    new File(site, 'backup.yaml').text = configuration
    // the Jenkinsfile names the configuration of an agent; here it lies in the scratch folder
    program(new File(site, 'bin/backup'), "#!/bin/sh\nBACKUP_CONFIG='${site}/backup.yaml' exec '${new File(args[3]).absolutePath}' \"\$@\"\n")
    def real = { Map parameters ->
        build(bin: new File(site, 'bin'), params: parameters, credentials: ['backup-slack-webhook': "http://127.0.0.1:${receiver.address.port}/hook", 'backup-jira-token': 'SECRET-WORD'])
    }
    def story = { Map parameters, String wanted, String what ->
        def done = real(parameters)
        ok(done.result == wanted, "real: ${what}: ${wanted}", "${done.result}: ${done.log.takeRight(12).join(' / ')}")
        done
    }
    def schema = SchemaFactory.newInstance(XMLConstants.W3C_XML_SCHEMA_NS_URI).newSchema(new File(folder, 'harness/junit.xsd'))
    def valid = { Build done, int broken ->
        def file = done.junitFiles[0]
        def why = file == null ? 'there is none' : null
        try { if (file) { schema.newValidator().validate(new StreamSource(file)) } } catch (org.xml.sax.SAXException wrongXml) { why = wrongXml.message }
        ok(why == null, 'real: its JUnit file is valid by the schema', why)
        if (file) { same(new XmlSlurper().parse(file).'**'.count { it.name() in ['failure', 'error'] }, broken, 'real: cases in it that are not well') }
    }
    story([:], 'FAILURE', 'a run before the share was made a store')
    new File(site, 'store').mkdir()
    ["${site}/bin/backup", 'init', '--store', 'nas'].execute(['PATH=/usr/bin:/bin'], site).waitForProcessOutput()
    story([:], 'SUCCESS', 'a run')
    // as README says it: `notify.jira` in the configuration, the token from a credential
    new File(site, 'backup.yaml').text = configuration + "notify: {jira: {url: 'http://127.0.0.1:${receiver.address.port}', project: OPS}}\n"
    story([:], 'SUCCESS', 'a run whose configuration has `notify.jira`')
    // these tell nobody, so they are given no secret and want none
    [verify: [:], drill: [:], restore: [RESTORE_TO: "${site}/told"], 'prune-dry-run': [:]].each { action, more ->
        story([ACTION: action] + more, 'SUCCESS', "${action} with the same configuration")
    }
    new File(site, 'backup.yaml').text = configuration
    valid(story([ACTION: 'verify'], 'SUCCESS', 'verify'), 0)
    valid(story([ACTION: 'drill'], 'SUCCESS', 'a drill'), 0)
    def back = new File(site, 'back')
    story([ACTION: 'restore', RESTORE_TO: back.path], 'SUCCESS', 'restore')
    same(['diff', '-r', source.path, back.path].execute().with { waitForProcessOutput(); exitValue() }, 0, 'real: what came back is what was there: diff')
    story([ACTION: 'prune-dry-run'], 'SUCCESS', 'what prune would remove')
    story([JOB: 'other'], 'FAILURE', 'a job that there is not')
    def before = told.size()
    (6..40).each { new File(source, "JohnDoe_${it}_2026.pdf").delete() }
    story([:], 'UNSTABLE', 'a source that shrank')
    same(told.size() - before, 1, 'real: messages that Slack got of it')
    ok(told.any { it.contains('upload') }, 'real: and it names the job', told)
    def snapshot = new File(site, 'store/upload').listFiles().findAll { it.name.startsWith('upload-') }.sort { it.name }.last()
    def volume = snapshot.listFiles().findAll { it.name.contains('.tar') }.max { it.length() }
    volume.setWritable(true)
    def bytes = volume.bytes
    bytes[bytes.length.intdiv(2)] ^= 1
    volume.bytes = bytes
    valid(story([ACTION: 'verify'], 'FAILURE', 'verify after one bit was turned'), 1)
    new File(site, 'store').renameTo(new File(site, 'gone'))
    story([:], 'FAILURE', 'a run while the store is away')
    // README's way from the mirror: its very commands, then the nightly job on the same store
    def moving = new File(scratch, 'moving')
    new File(moving, 'mirror').mkdirs()
    (1..40).each { new File(moving, "mirror/JohnDoe_${it}_2026.pdf").text = "week ${it}" }
    def commands = new File(folder, 'README.md').readLines()*.trim().findAll { it.startsWith('backup run --source MIRROR') || it.startsWith('backup verify --store STORE') }
    commands += (new File(folder, 'README.md').text =~ /`(backup hold latest --store STORE[^`]*)`/).collect { it[1] }
    same(commands.size(), 3, 'README: commands to import the mirror')
    commands.each { command ->
        def process = new ProcessBuilder('/bin/sh', '-c', command.replace('MIRROR', "${moving}/mirror").replace('STORE', "${moving}/store").replace('backup ', "'${new File(args[3]).absolutePath}' --state-dir ${moving}/state ")).redirectErrorStream(true).start()
        def said = process.inputStream.text
        ok(process.waitFor() == 0, "real: ${command}", said)
    }
    new File(site, 'backup.yaml').text = "state_dir: ${moving}/state\nstores: {nas: {path: ${moving}/store}}\njobs: {upload: {source: ${moving}/source}}\n"
    new File(moving, 'source').mkdirs()
    (1..30).each { new File(moving, "source/JohnDoe_${it}_2026.pdf").text = "week ${it}" }
    story([:], 'SUCCESS', 'the nightly job goes on from the mirror')
    (4..30).each { new File(moving, "source/JohnDoe_${it}_2026.pdf").delete() }
    story([:], 'UNSTABLE', 'and notices a source that shrank')
    receiver.stop(0)
} else {
    println 'SKIPPED  the real program: no binary is built'
}
println "${passed} passed, ${failed} failed"
System.exit(failed == 0 ? 0 : 1)
