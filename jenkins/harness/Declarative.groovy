// Runs a declarative Jenkinsfile without Jenkins: `pipeline { ... }` and the steps that ours uses, bound to closures, in the
// Groovy line that Jenkins has (2.4). `sh` really runs a shell, in a folder that stands for the workspace.
//
// It is no Jenkins: no CPS (so nothing is serialised), no sandbox, no agents. What it does not know it refuses, so a
// misspelt step or section fails here. Results only get worse, as Jenkins has it: SUCCESS, UNSTABLE, FAILURE, NOT_BUILT, ABORTED.

class Aborted extends RuntimeException {
    Aborted(String message) { super(message) }
}

/** What a build did. */
class Build {
    static final List ORDER = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'NOT_BUILT', 'ABORTED']
    String result = 'SUCCESS'
    String description
    List stages = []
    Map stageResults = [:]
    List commands = []
    List log = []
    List archived = []
    List junitFiles = []
    List boundIds = []
    Map options = [:]
    Map parameters = [:]
    Map choices = [:]
    List crons = []
    String label

    void worsen(String to) {
        assert to in ORDER: "there is no result ${to}"
        if (ORDER.indexOf(to) > ORDER.indexOf(result)) { result = to }
    }
}

/** A section that takes only what it names. */
abstract class Section {
    Build build
    Runner runner

    void take(Closure body) {
        body.delegate = this
        body.resolveStrategy = Closure.DELEGATE_FIRST
        body.call()
    }

    def methodMissing(String name, args) {
        throw new IllegalStateException("${getClass().simpleName}: there is no `${name}` here")
    }
}

class Pipeline extends Section {
    List waiting = []
    List afterwards = []

    void agent(Closure body) { new Agent(build: build, runner: runner).take(body) }
    void options(Closure body) { new Options(build: build, runner: runner).take(body) }
    void parameters(Closure body) { new Parameters(build: build, runner: runner).take(body) }
    void triggers(Closure body) { new Triggers(build: build, runner: runner).take(body) }
    void environment(Closure body) { new Variables(build: build, runner: runner).take(body) }
    void stages(Closure body) { waiting << body }
    void post(Closure body) { afterwards << body }
}

class Agent extends Section {
    void label(String name) { build.label = name }
}

class Options extends Section {
    void disableConcurrentBuilds() { build.options.disableConcurrentBuilds = true }
    void skipDefaultCheckout() { build.options.skipDefaultCheckout = true }
    void timeout(Map how) { build.options.timeout = how }
    void buildDiscarder(Map how) { build.options.buildDiscarder = how }
    Map logRotator(Map how) { how }
}

class Parameters extends Section {
    void string(Map one) { build.parameters[one.name] = one.defaultValue }
    void choice(Map one) {
        build.parameters[one.name] = one.choices[0]
        build.choices[one.name] = one.choices
    }
}

class Triggers extends Section {
    def getEnv() { runner.env }
    void cron(String spec) { build.crons << spec }
}

class Variables extends Section {
    void setProperty(String name, Object value) {
        if (name in ['build', 'runner']) { this.@"$name" = value } else { runner.env[name] = value.toString() }
    }
}

class Stages extends Section {
    void stage(String name, Closure body) {
        if (runner.failure != null) { return }
        def stage = new Stage(build: build, runner: runner, name: name)
        stage.take(body)
        assert stage.work != null: "stage ${name} has no steps"
        if (!stage.wanted) { return }
        build.stages << name
        runner.inStage(name, stage.work)
    }
}

class Stage extends Section {
    String name
    Closure work
    boolean wanted = true

    void when(Closure body) { new When(build: build, runner: runner, stage: this).take(body) }
    void steps(Closure body) { work = body }
}

class When extends Section {
    Stage stage
    void expression(Closure body) {
        body.delegate = runner.script
        stage.wanted = stage.wanted && body.call()
    }
}

class Post extends Section {
    void always(Closure body) { runner.inStage('post: always', body) }
}

/** `currentBuild`. */
class Current {
    Build build
    String getResult() { build.result }
    void setResult(String to) { build.worsen(to) }
    void setDescription(String text) { build.description = text }
}

/** The base of the script: what is global in a Jenkinsfile, and the steps. */
abstract class JenkinsScript extends Script {
    Runner getRunner() { binding.getVariable('runner') }

    void pipeline(Closure body) { runner.pipeline(body) }
    Map getParams() { runner.params.asImmutable() }
    Map getEnv() { runner.env }
    Current getCurrentBuild() { new Current(build: runner.build) }

    void script(Closure body) { body.call() }
    void echo(Object text) { runner.log(text) }
    void error(Object text) { throw new Aborted(text.toString()) }

    void unstable(Object text) {
        runner.log(text)
        runner.build.worsen('UNSTABLE')
        runner.build.stageResults[runner.stage] = 'UNSTABLE'
    }

    void catchError(Map how, Closure body) {
        assert how.keySet() == ['buildResult', 'stageResult'] as Set
        try {
            body.call()
        } catch (Aborted aborted) {
            runner.log("ERROR: ${aborted.message}")
            runner.build.worsen(how.buildResult)
            runner.build.stageResults[runner.stage] = how.stageResult
        }
    }

    Map string(Map one) {
        assert one.keySet() == ['credentialsId', 'variable'] as Set
        one
    }

    void withCredentials(List wanted, Closure body) {
        def before = new LinkedHashMap(runner.env)
        wanted.each {
            assert runner.credentials.containsKey(it.credentialsId): "there is no credential ${it.credentialsId}"
            runner.build.boundIds << it.credentialsId
            runner.env[it.variable] = runner.credentials[it.credentialsId]
        }
        try {
            body.call()
        } finally {
            wanted.each { if (before.containsKey(it.variable)) { runner.env[it.variable] = before[it.variable] } else { runner.env.remove(it.variable) } }
        }
    }

    def sh(String script) { sh(script: script) }

    def sh(Map how) {
        assert (how.keySet() - ['script', 'returnStatus', 'returnStdout', 'label']).isEmpty(): "sh does not take ${how.keySet()}"
        int status = runner.shell(how.script.toString())
        if (how.returnStatus) { return status }
        if (status != 0) { throw new Aborted("script returned exit code ${status}") }
        null
    }

    void junit(Map how) {
        assert (how.keySet() - ['testResults', 'allowEmptyResults']).isEmpty()
        def found = runner.files(how.testResults)
        if (found.isEmpty() && !how.allowEmptyResults) { throw new Aborted('no test report files were found') }
        found.each { file ->
            def root = new XmlSlurper().parse(file)
            runner.build.junitFiles << file
            // as the plugin does: a failed test makes the build UNSTABLE, if it is not worse already
            if (root.'**'.any { it.name() in ['failure', 'error'] }) { runner.build.worsen('UNSTABLE') }
        }
    }

    void archiveArtifacts(Map how) {
        assert (how.keySet() - ['artifacts', 'allowEmptyArchive']).isEmpty()
        def found = how.artifacts.split(',').collectMany { runner.files(it.trim()) }
        if (found.isEmpty() && !how.allowEmptyArchive) { throw new Aborted('no artifacts were found') }
        runner.build.archived.addAll(found*.name)
    }
}

/** One build. */
class Runner {
    Build build = new Build()
    Map env = [:]
    Map params = [:]
    Map given = [:]
    Map credentials = [:]
    File workspace
    String stage
    Throwable failure
    Script script

    static Build run(Map how) {
        def runner = new Runner(workspace: how.workspace, given: how.params ?: [:], credentials: how.credentials ?: [:])
        runner.env.putAll(how.env)
        def settings = new org.codehaus.groovy.control.CompilerConfiguration(scriptBaseClass: JenkinsScript.name)
        def shell = new GroovyShell(Runner.classLoader, new Binding(runner: runner), settings)
        runner.script = shell.parse(how.jenkinsfile)
        runner.script.run()
        runner.build
    }

    void pipeline(Closure body) {
        def pipeline = new Pipeline(build: build, runner: this)
        pipeline.take(body)
        assert pipeline.waiting.size() == 1: 'a pipeline has one `stages`'
        assert build.label != null: 'a pipeline has an `agent`'
        params = new LinkedHashMap(build.parameters)
        given.each { name, value ->
            assert params.containsKey(name): "there is no parameter ${name}"
            if (build.choices[name]) { assert value in build.choices[name]: "${value} is no choice of ${name}" }
            params[name] = value
        }
        // Jenkins hands parameters to steps as variables of the environment
        params.each { name, value -> env[name] = value.toString() }
        new Stages(build: build, runner: this).take(pipeline.waiting[0])
        pipeline.afterwards.each { new Post(build: build, runner: this).take(it) }
    }

    void inStage(String name, Closure work) {
        stage = name
        try {
            work.delegate = script
            work.call()
        } catch (Aborted aborted) {
            log("ERROR: ${aborted.message}")
            build.worsen('FAILURE')
            build.stageResults[name] = 'FAILURE'
            failure = aborted
        }
    }

    void log(Object text) { build.log << text.toString() }

    int shell(String text) {
        build.commands << text
        def builder = new ProcessBuilder('/bin/sh', '-xe', '-c', text).directory(workspace).redirectErrorStream(true)
        builder.environment().clear()
        env.each { name, value -> builder.environment().put(name.toString(), value.toString()) }
        def process = builder.start()
        process.outputStream.close()
        process.inputStream.eachLine { log(it) }
        process.waitFor()
    }

    List files(String glob) {
        def wanted = java.nio.file.FileSystems.default.getPathMatcher("glob:${glob}")
        (workspace.listFiles() as List).findAll { it.isFile() && wanted.matches(new File(it.name).toPath()) }.sort { it.name }
    }
}
