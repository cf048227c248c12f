use super::*;

#[test]
fn a_question_that_nobody_answers_is_answered_with_nothing_once() {
    let (answers, inbox) = unbounded();
    let answers = Answers::Thread(answers);
    drop(ReplyTo::new(answers.clone(), 1, NodeId(1)));
    assert!(inbox.try_recv().unwrap().reply.is_none());
    ReplyTo::new(answers, 2, NodeId(1)).answer(Reply::Unknown);
    assert_eq!(inbox.try_recv().unwrap().reply, Some(Reply::Unknown));
    assert!(inbox.try_recv().is_err(), "one answer each");
}

#[test]
fn mail_to_a_node_that_is_gone_says_so() {
    let (mailbox, mail) = Mailbox::new(NodeId(3));
    drop(mail);
    let (answers, inbox) = unbounded();
    let answers = Answers::Thread(answers);
    mailbox.ask(Principal::cluster(), Request::Status, &answers, 7);
    let answered = inbox.try_recv().unwrap();
    assert_eq!(
        (answered.tag, answered.node, answered.reply),
        (7, NodeId(3), None)
    );
}

#[test]
fn a_killed_node_is_off_and_a_stopped_one_is_not_killed() {
    let switch = Switch::default();
    assert!(!switch.is_off());
    switch.stop();
    assert!(switch.is_off() && !switch.is_killed());
    switch.kill();
    assert!(switch.is_killed());
}
