//! Tools for assistants: a server of the Model Context Protocol on standard input and output.
//!
//! It decides nothing: each tool uses the [`client`](crate::client) over a connection for that call, so that a daemon
//! which starts or ends in between makes no difference.
//!
//! The protocol versions are 2024-11-05, 2025-03-26, 2025-06-18 and 2025-11-25, negotiated by `initialize` (other
//! versions get the last of these), and 2026-07-28, which does without. Structured results are always objects, as only
//! the last version allows anything else.
//!
//! An error of a tool is a result of that tool, marked as an error, so that the assistant reads it; only a malformed
//! call is an error of the protocol.
//!
//! - [`tools`]: the tools' descriptions; [`schemas`]: the schemas of their results.
//! - [`arguments`]: reads a call's arguments. [`calls`]: performs it. [`render`]: its result as text.
//! - [`resources`]: what can be read of each worker. [`prompts`]: questions to pick from a list.

mod arguments;
mod calls;
mod prompts;
mod render;
mod resources;
mod schemas;
mod tools;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ErrorData, GetPromptRequestParams,
    GetPromptResponse, Implementation, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult,
    ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ReadResourceRequestParams,
    ReadResourceResponse, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError, ServiceExt};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::io::stdio_pipes;
use rmcp::{ServerHandler, model::ProgressToken, service::Peer};
use tokio::sync::mpsc;

use self::arguments::Arguments;
use self::calls::{Answer, Step};
use crate::setup::Options;

/// Maximum length of a message, in bytes; reasonable ones are much shorter.
const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Instructions for the assistant.
const INSTRUCTIONS: &str = "\
workerheal keeps the background workers of this machine alive: processes such as queue consumers, schedulers and dev \
servers, which the service manager runs as units. A worker is named SITE/WORKER (myapp/queue; in a git worktree myapp/queue@feat-x), where the site is the \
project that it belongs to, or by its unit (lerd-queue-myapp); a site alone names all of its workers.

Begin with workers_health: an empty list means that nothing is wrong. Ask worker_explain why a worker is, or is not, \
being healed and what can be done, worker_logs what it said before it died, and workers_events whether that \
happens again and again. workers_heal starts what has failed and waits until it has stayed up; with dry_run it only \
says what it would start. If a heal fails, the cause has to be fixed first, which the log tells: healing again does \
not help. Every tool that is about a worker takes its name as target.

A worker that is paused, or that the user stopped, is down on purpose, and is not listed as unhealthy; workers_list \
has all. Leave it so, unless the user asks for it. workers_stop stops a worker for good, workers_pause keeps \
workerheal from starting things while someone works on them, and workers_resume lets it go on. workers_list, \
workers_events, workers_pause and workers_resume need workerheal's daemon, the other tools do without.";

/// Why an assistant cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum McpError {
    /// The session did not begin as it must.
    #[error("no MCP session: {0}")]
    NoSession(String),
    /// The connection failed; says why.
    #[error("the MCP session ended: {0}")]
    Broken(String),
}

/// Serves the assistant on standard input and output, until it disconnects.
///
/// # Errors
///
/// If the other end does not speak the protocol.
pub async fn serve(options: Options) -> Result<(), McpError> {
    let (input, output) = stdio_pipes();
    let transport = AsyncRwTransport::new_server(input, output).with_max_line_length(MAX_MESSAGE_BYTES);
    let session = match Box::pin(Server { options }.serve(transport)).await {
        Ok(session) => session,
        // It disconnected before the session began.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(ServerInitializeError::ExpectedInitializeRequest(_)) => {
            return Err(McpError::NoSession("the first message was no `initialize` request".to_owned()));
        }
        Err(error) => return Err(McpError::NoSession(error.to_string())),
    };
    session.waiting().await.map_err(|error| McpError::Broken(error.to_string()))?;
    Ok(())
}

/// The server, with the options for connections.
#[derive(Debug, Clone)]
struct Server {
    options: Options,
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let mut this = Implementation::new("workerheal", env!("CARGO_PKG_VERSION"));
        this.title = Some("workerheal".to_owned());
        this.description = Some(env!("CARGO_PKG_DESCRIPTION").to_owned());
        let mut config =
            ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_resources().enable_prompts().build());
        config.server_info = this;
        config.instructions = Some(INSTRUCTIONS.to_owned());
        config
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::all()))
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let list = unless_cancelled(&context, resources::list(&self.options)).await?;
        Ok(ListResourcesResult::with_all_items(list))
    }

    async fn list_resource_templates(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Ok(ListResourceTemplatesResult::with_all_items(resources::templates()))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        Ok(unless_cancelled(&context, resources::read(&self.options, &request.uri)).await?.into())
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(prompts::all()))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        Ok(prompts::get(&request.name, request.arguments.as_ref())?.into())
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools::all().into_iter().find(|tool| tool.name == name)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Arguments::new(request.arguments.unwrap_or_default());
        let (steps, taken) = mpsc::unbounded_channel();
        let call = async {
            match &*request.name {
                tools::HEALTH => calls::health(&self.options, arguments).await,
                tools::LIST => calls::list(&self.options, arguments).await,
                tools::EVENTS => calls::events(&self.options, arguments).await,
                tools::STOP => calls::stop(&self.options, arguments).await,
                tools::HEAL => calls::heal(&self.options, arguments, steps).await,
                tools::EXPLAIN => calls::explain(&self.options, arguments).await,
                tools::PAUSE => calls::pause(&self.options, arguments).await,
                tools::RESUME => calls::resume(&self.options, arguments).await,
                tools::LOGS => calls::logs(&self.options, arguments).await,
                _ => Err(calls::CallError::NoSuchTool),
            }
        };
        let reports = send_progress(context.peer.clone(), context.meta.get_progress_token(), taken);
        // All steps are reported before the result.
        let both = async { Ok(tokio::join!(call, reports)) };
        let (answer, ()) = Box::pin(unless_cancelled(&context, both)).await?;
        match answer {
            Ok(Answer { text, facts }) => {
                let mut result = CallToolResult::success(vec![ContentBlock::text(text)]);
                result.structured_content = Some(facts);
                Ok(result.into())
            }
            Err(calls::CallError::NoSuchTool) => {
                Err(ErrorData::invalid_params(format!("there is no tool {:?}", request.name), None))
            }
            Err(error) => Ok(CallToolResult::error(vec![ContentBlock::text(error.to_string())]).into()),
        }
    }
}

/// The result of a request; a cancelled one has none.
async fn unless_cancelled<T>(
    context: &RequestContext<RoleServer>,
    result: impl Future<Output = Result<T, ErrorData>>,
) -> Result<T, ErrorData> {
    tokio::select! {
        result = result => result,
        () = context.ct.cancelled() => Err(ErrorData::internal_error("the call was cancelled", None)),
    }
}

/// Reports the steps of a call, if the caller gave a token for that, until there are no more.
async fn send_progress(peer: Peer<RoleServer>, token: Option<ProgressToken>, mut steps: mpsc::UnboundedReceiver<Step>) {
    while let Some(Step { number, of, message }) = steps.recv().await {
        let Some(token) = token.clone() else { continue };
        let step = ProgressNotificationParam::new(token, f64::from(number)).with_total(f64::from(of));
        // If it cannot be sent, the session is about to end.
        let _ = peer.notify_progress(step.with_message(message)).await;
    }
}
